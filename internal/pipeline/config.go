package pipeline

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no zones of its own

	"golang.org/x/text/currency"
)

// readConfig reads pipeline.yaml.
func readConfig(p *Pipeline, content []byte, faults *Faults) *document {
	doc := readYAML(configFile, content, faults)
	if doc == nil {
		return nil
	}
	root, ok := doc.value.(map[string]any)
	if !ok {
		faults.add(configFile, 1, 1, "must hold keys: name, time_zone, currency, flows")
		return nil
	}
	reader := mappingReader{doc: doc, faults: faults}
	p.Name = reader.text(root, true, "name")
	p.Title = reader.text(root, false, "title")
	reader.text(root, false, "description")
	p.TimeZone = reader.text(root, true, "time_zone")
	p.Currency = reader.text(root, true, "currency")
	reader.known(root, []string{"name", "title", "description", "time_zone", "currency", "tasks", "flows"})
	if p.Title == "" {
		p.Title = p.Name
	}
	if p.TimeZone != "" && !isTimeZone(p.TimeZone) {
		reader.fault([]string{"time_zone"}, "%s is no time zone: use a name of the IANA database, for example Europe/Berlin", shorten(p.TimeZone))
	}
	if p.Currency != "" && !isCurrency(p.Currency) {
		reader.fault([]string{"currency"}, "%s is no currency: use a code of ISO 4217, for example EUR", shorten(p.Currency))
	}
	p.Tasks = reader.work(root)
	p.Flows = reader.flows(p, root)
	return doc
}

// isTimeZone says whether this is the name of a zone. "Local" is one only to Go.
func isTimeZone(name string) bool {
	if name == "" || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}

func isCurrency(code string) bool {
	unit, err := currency.ParseISO(code)
	return err == nil && unit.String() == code && code != "XXX" && code != "XTS"
}

// mappingReader reads the keys of a YAML document that has no schema of its own.
type mappingReader struct {
	doc    *document
	faults *Faults
}

func (r *mappingReader) fault(at []string, format string, args ...any) {
	line, column := r.doc.at(at...)
	r.faults.add(r.doc.file, line, column, format, args...)
}

// known faults the keys of a mapping that are not in the list.
func (r *mappingReader) known(mapping map[string]any, keys []string, at ...string) {
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		if !slices.Contains(keys, key) {
			line, column := r.doc.atKey(key, at...)
			r.faults.add(r.doc.file, line, column, "unknown key %s: known are %s", shorten(key), strings.Join(keys, ", "))
		}
	}
}

// text returns the text of the key that a path ends in.
func (r *mappingReader) text(mapping map[string]any, required bool, at ...string) string {
	key := at[len(at)-1]
	value, there := mapping[key]
	text, ok := value.(string)
	switch {
	case !there || value == nil:
		if required {
			r.fault(at[:len(at)-1], "%s is missing", key)
		}
	case !ok:
		r.fault(at, "%s must be text", key)
	case required && strings.TrimSpace(text) == "":
		r.fault(at, "%s is empty", key)
	}
	return text
}

func (r *mappingReader) flows(p *Pipeline, root map[string]any) []*Flow {
	value, there := root["flows"]
	if !there {
		r.fault(nil, "flows is missing: name at least one, for example `daily: {select: [\"*\"]}`")
		return nil
	}
	mapping, ok := value.(map[string]any)
	if !ok || len(mapping) == 0 {
		r.fault([]string{"flows"}, "flows must map names to flows")
		return nil
	}
	var flows []*Flow
	for _, name := range slices.Sorted(maps.Keys(mapping)) {
		if !namePattern.MatchString(name) {
			line, column := r.doc.atKey(name, "flows")
			r.faults.add(r.doc.file, line, column, "%s is no name of a flow: use %s", shorten(name), nameRule)
			continue
		}
		body, ok := mapping[name].(map[string]any)
		if !ok {
			r.fault([]string{"flows", name}, "a flow has the keys title, description, select (or maintenance), schedule, on_files, after, late and notify")
			continue
		}
		flow := &Flow{
			Name:        name,
			Title:       r.text(body, false, "flows", name, "title"),
			Description: r.text(body, false, "flows", name, "description"),
		}
		if _, maintains := body["maintenance"]; maintains {
			flow.Maintenance = r.maintenance(body, name)
		} else {
			flow.Select = r.selection(body, name)
		}
		if flow.Title == "" {
			flow.Title = name
		}
		flow.Notify = r.channels(body, name)
		r.triggers(p, flow, body)
		r.known(body, append([]string{"title", "description", "select", "maintenance", "notify"}, triggerKeys...), "flows", name)
		flows = append(flows, flow)
	}
	return flows
}

func (r *mappingReader) selection(body map[string]any, flow string) []string {
	if list, ok := body["select"].([]any); !ok || len(list) == 0 {
		r.fault([]string{"flows", flow, "select"}, "flow %s selects nothing: select is a list of tables, for example [\"*\"] or [gold.*]", flow)
		return nil
	}
	return r.globs(body, "flows", flow, "select")
}

// globs returns the patterns of the list that a path ends in.
func (r *mappingReader) globs(mapping map[string]any, at ...string) []string {
	list, _ := mapping[at[len(at)-1]].([]any)
	var globs []string
	for i, item := range list {
		place := append(slices.Clone(at), strconv.Itoa(i))
		glob, ok := item.(string)
		if !ok {
			r.fault(place, "must be the name of a table, or a pattern such as gold.*")
			continue
		}
		if _, err := path.Match(glob, ""); err != nil {
			r.fault(place, "%s is no pattern: %v", shorten(glob), err)
			continue
		}
		globs = append(globs, glob)
	}
	return globs
}

// channels are the names of channels that a flow tells of failures. What they are the operator says, not the pipeline.
func (r *mappingReader) channels(body map[string]any, flow string) []string {
	value, there := body["notify"]
	if !there {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		r.fault([]string{"flows", flow, "notify"}, "notify is a list of the operator's channels, for example [ops]")
		return nil
	}
	var names []string
	for i, item := range list {
		name, ok := item.(string)
		if !ok || !namePattern.MatchString(name) {
			r.fault([]string{"flows", flow, "notify", strconv.Itoa(i)}, "must be the name of a channel: use %s", nameRule)
			continue
		}
		names = append(names, name)
	}
	return names
}

// checkFlows faults what a flow selects, or waits for, in vain.
func checkFlows(p *Pipeline, doc *document, faults *Faults) {
	reader := mappingReader{doc: doc, faults: faults}
	for _, flow := range p.Flows {
		tables, globs, at := p.Tables(), flow.Select, []string{"flows", flow.Name, "select"}
		if flow.Maintenance != nil {
			tables, globs, at = p.maintainable(), flow.Maintenance.Tables, []string{"flows", flow.Name, "maintenance", "tables"}
		}
		for _, glob := range globs {
			if !slices.ContainsFunc(tables, func(table string) bool { return selects(glob, table) }) {
				reader.fault(append(at, strconv.Itoa(indexOf(doc, glob, at))), "flow %s: %s selects no table", flow.Name, shorten(glob))
			}
		}
	}
	checkTriggers(p, &reader)
}

// indexOf is the place of a text in the list at a path.
func indexOf(doc *document, text string, at []string) int {
	value := doc.value
	for _, key := range at {
		mapping, _ := value.(map[string]any)
		value = mapping[key]
	}
	list, _ := value.([]any)
	return slices.Index(list, any(text))
}

func selects(glob, table string) bool {
	matched, err := path.Match(glob, table)
	return err == nil && matched
}
