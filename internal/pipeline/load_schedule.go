package pipeline

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxConcurrency is the most runs of one flow that may be open at once.
	maxConcurrency = 100
	// maxLate is the longest that a run waits for a file.
	maxLate = 366 * 24 * time.Hour
)

// triggerKeys are the keys of a flow that say when it runs.
var triggerKeys = []string{"schedule", "on_files", "after", "late"}

// triggers reads when a flow runs.
func (r *mappingReader) triggers(p *Pipeline, flow *Flow, body map[string]any) {
	at := func(keys ...string) []string { return append([]string{"flows", flow.Name}, keys...) }
	if mapping := r.mapping(body, at("schedule"), "cron"); mapping != nil {
		flow.Schedule = r.schedule(p, mapping, at)
	}
	if mapping := r.mapping(body, at("late"), "source and after"); mapping != nil {
		r.known(mapping, []string{"source", "after"}, at("late")...)
		flow.Late = &Late{Source: r.text(mapping, true, at("late", "source")...), After: r.duration(mapping, at("late", "after"))}
		if _, scheduled := body["schedule"]; !scheduled {
			r.faultKey("late", at(), "late says what a schedule waits for, and flow %s has none: add schedule", flow.Name)
		}
	}
	switch value := body["on_files"].(type) {
	case nil:
	case bool:
		flow.OnFiles = value
	case map[string]any:
		r.known(value, []string{"sources"}, at("on_files")...)
		flow.OnFiles, flow.FileSources = true, r.names(value, at("on_files", "sources"))
		if len(flow.FileSources) == 0 {
			r.fault(at("on_files"), "on_files names no source: write `on_files: true` for all, or {sources: [...]}")
		}
	default:
		r.fault(at("on_files"), "on_files is true, or {sources: [...]}")
	}
	flow.After = r.names(body, at("after"))
}

func (r *mappingReader) schedule(p *Pipeline, mapping map[string]any, at func(...string) []string) *Schedule {
	text := func(key string) string { return r.text(mapping, false, at("schedule", key)...) }
	s := &Schedule{
		Cron: r.text(mapping, true, at("schedule", "cron")...), TimeZone: text("time_zone"),
		StartDate: r.date(mapping, at("schedule", "start_date")), EndDate: r.date(mapping, at("schedule", "end_date")),
		CatchUp:     CatchUp(r.choice(mapping, at("schedule", "catch_up"), string(CatchUpLatest), string(CatchUpAll), string(CatchUpNone))),
		OnOverlap:   Overlap(r.choice(mapping, at("schedule", "on_overlap"), string(OverlapQueue), string(OverlapSkip), string(OverlapCancelRunning))),
		Concurrency: 1,
	}
	r.known(mapping, []string{"cron", "time_zone", "start_date", "end_date", "catch_up", "concurrency", "on_overlap"}, at("schedule")...)
	if strings.TrimSpace(s.Cron) != "" {
		if _, err := ParseCron(s.Cron); err != nil {
			r.fault(at("schedule", "cron"), "%s is no cron expression: %v", shorten(s.Cron), err)
		}
	}
	switch {
	case s.TimeZone == "":
		s.TimeZone = p.TimeZone
	case !isTimeZone(s.TimeZone):
		r.fault(at("schedule", "time_zone"), "%s is no time zone: use a name of the IANA database, for example Europe/Berlin", shorten(s.TimeZone))
	}
	if s.StartDate != "" && s.EndDate != "" && s.StartDate >= s.EndDate {
		r.fault(at("schedule", "end_date"), "end_date %s is not after start_date %s: it is the day after the last", s.EndDate, s.StartDate)
	}
	if value, there := mapping["concurrency"]; there {
		number, _ := value.(json.Number)
		n, err := strconv.Atoi(number.String())
		if err != nil || n < 1 || n > maxConcurrency {
			r.fault(at("schedule", "concurrency"), "concurrency is how many runs may be open at once: a number from 1 to %d", maxConcurrency)
		}
		s.Concurrency = n
	}
	return s
}

// mapping returns the mapping that a path ends in; nil where there is none.
func (r *mappingReader) mapping(body map[string]any, at []string, keys string) map[string]any {
	key := at[len(at)-1]
	value, there := body[key]
	if !there {
		return nil
	}
	mapping, ok := value.(map[string]any)
	if !ok {
		r.fault(at, "%s holds keys: %s, ...", key, keys)
	}
	return mapping
}

// choice returns the text that a path ends in, the first of the choices where there is none.
func (r *mappingReader) choice(mapping map[string]any, at []string, choices ...string) string {
	key := at[len(at)-1]
	if _, there := mapping[key]; !there {
		return choices[0]
	}
	text, _ := mapping[key].(string)
	if !slices.Contains(choices, text) {
		r.fault(at, "%s is one of %s", key, strings.Join(choices, ", "))
	}
	return text
}

// date returns the date that a path ends in, empty where there is none.
func (r *mappingReader) date(mapping map[string]any, at []string) string {
	text := r.text(mapping, false, at...)
	if _, err := time.Parse(time.DateOnly, text); text != "" && err != nil {
		r.fault(at, "%s is no date: write YYYY-MM-DD", shorten(text))
	}
	return text
}

// duration returns the time span that a path ends in.
func (r *mappingReader) duration(mapping map[string]any, at []string) time.Duration {
	text := r.text(mapping, true, at...)
	if strings.TrimSpace(text) == "" {
		return 0
	}
	span, err := time.ParseDuration(text)
	if err != nil || span <= 0 || span > maxLate {
		r.fault(at, "%s is no time span that a run can wait: write for example 12h", shorten(text))
	}
	return span
}

// names returns the list of names that a path ends in, sorted, each once.
func (r *mappingReader) names(mapping map[string]any, at []string) []string {
	key := at[len(at)-1]
	value, there := mapping[key]
	if !there {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		r.fault(at, "%s is a list of names", key)
		return nil
	}
	var names []string
	for i, item := range list {
		name, ok := item.(string)
		if !ok || slices.Contains(names, name) {
			r.fault(append(slices.Clone(at), strconv.Itoa(i)), "must be a name that is not in the list yet")
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// faultKey faults a key of the mapping at a path.
func (r *mappingReader) faultKey(key string, at []string, format string, args ...any) {
	line, column := r.doc.atKey(key, at...)
	r.faults.add(r.doc.file, line, column, format, args...)
}

// checkTriggers faults flows that wait for a source that they do not read, for a flow that does not exist, or for each other.
func checkTriggers(p *Pipeline, reader *mappingReader) {
	for _, flow := range p.Flows {
		sources := p.SourcesOf(flow)
		refuse := func(source string, at ...string) {
			if source != "" && !slices.Contains(sources, source) {
				reader.fault(append([]string{"flows", flow.Name}, at...), "flow %s reads no source %s: it reads %s", flow.Name, shorten(source), strings.Join(sources, ", "))
			}
		}
		for _, source := range flow.FileSources {
			refuse(source, "on_files", "sources")
		}
		if flow.Late != nil {
			refuse(flow.Late.Source, "late", "source")
		}
		if flow.OnFiles && len(flow.FileSources) == 0 {
			flow.FileSources = sources
		}
		for _, name := range flow.After {
			if p.Flow(name) == nil {
				reader.fault([]string{"flows", flow.Name, "after"}, "there is no flow %s", shorten(name))
			}
		}
		if round := p.roundOf(flow); round != nil {
			reader.fault([]string{"flows", flow.Name, "after"}, "the flows wait for each other, and would run forever: %s", strings.Join(round, " after "))
		}
	}
}

// roundOf is a way from a flow back to itself, by the flows that it runs after; nil where there is none.
func (p *Pipeline) roundOf(flow *Flow) []string {
	seen := map[string]bool{}
	var find func(f *Flow, way []string) []string
	find = func(f *Flow, way []string) []string {
		way = append(way, f.Name)
		for _, name := range f.After {
			if name == flow.Name {
				return append(way, name)
			}
			next := p.Flow(name)
			if next == nil || seen[name] {
				continue
			}
			seen[name] = true
			if round := find(next, way); round != nil {
				return round
			}
		}
		return nil
	}
	return find(flow, nil)
}

// SourcesOf are the names of the sources that a flow reads, sorted.
func (p *Pipeline) SourcesOf(flow *Flow) []string {
	names := map[string]bool{}
	for _, table := range p.TablesOf(flow) {
		if source := p.SourceOf(table); source != nil {
			names[source.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
