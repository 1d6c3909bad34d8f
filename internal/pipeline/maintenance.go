package pipeline

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Maintenance is what a flow of maintenance does to its tables: it rewrites small files, forgets old snapshots, and removes
// files that nothing names any more.
type Maintenance struct {
	// Tables are globs of table names; those of ops are among them.
	Tables []string
	// KeepSnapshots is how old a snapshot must be to be forgotten.
	KeepSnapshots time.Duration
	// KeepLast is how many snapshots of each table are kept, however old.
	KeepLast int
	// TargetFileSize is how large, in bytes, small files are made.
	TargetFileSize int64
	// KeepOrphans is how old a file must be to be removed that nothing names and that belongs to no run.
	KeepOrphans time.Duration
}

// maintenanceDefaults are what `maintenance: {}` means.
var maintenanceDefaults = Maintenance{
	Tables:         []string{"*"},
	KeepSnapshots:  7 * 24 * time.Hour,
	KeepLast:       10,
	TargetFileSize: 128 << 20,
	KeepOrphans:    time.Hour,
}

// maintainable are all tables that can be maintained: those of the pipeline and those of ops.
func (p *Pipeline) maintainable() []string {
	tables := p.Tables()
	for _, t := range OpsTables() {
		tables = append(tables, t.Name)
	}
	return tables
}

// maintenance reads what a flow of maintenance does.
func (r *mappingReader) maintenance(body map[string]any, flow string) *Maintenance {
	m := maintenanceDefaults
	at := func(key string) []string { return []string{"flows", flow, "maintenance", key} }
	if _, both := body["select"]; both {
		r.fault([]string{"flows", flow, "select"}, "flow %s has select and maintenance: maintenance names its tables itself (maintenance: {tables: [gold.*]})", flow)
	}
	mapping, ok := body["maintenance"].(map[string]any)
	if !ok {
		r.fault(at("")[:3], "maintenance is a mapping: write {} for its defaults, or keys such as keep_snapshots: 7d")
		return &m
	}
	r.known(mapping, []string{"tables", "keep_snapshots", "keep_last", "target_file_size", "keep_orphans"}, "flows", flow, "maintenance")
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		text := scalar(mapping[key])
		switch key {
		case "tables":
			if list, ok := mapping[key].([]any); !ok || len(list) == 0 {
				r.fault(at(key), "tables is a list of tables, for example [\"*\"] or [bronze.*, ops.*]")
				continue
			}
			m.Tables = r.globs(mapping, at(key)...)
		case "keep_snapshots":
			m.KeepSnapshots = r.age(text, at(key))
		case "keep_orphans":
			m.KeepOrphans = r.age(text, at(key))
		case "keep_last":
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 {
				r.fault(at(key), "%s is no number of snapshots such as 10", shorten(text))
			}
			m.KeepLast = n
		case "target_file_size":
			size, err := humanize.ParseBytes(text)
			if err != nil || size == 0 || size > 1<<40 {
				r.fault(at(key), "%s is no size of a file such as 128MiB", shorten(text))
			}
			m.TargetFileSize = int64(size)
		}
	}
	return &m
}

// scalar is a text or number as it stands in the document; empty for anything else.
func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// age reads 7d, 12h, 90m or 0.
func (r *mappingReader) age(text string, at []string) time.Duration {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return d
	}
	r.fault(at, "%s is no duration such as 7d, 12h or 0", shorten(text))
	return 0
}
