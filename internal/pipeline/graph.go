package pipeline

import (
	"maps"
	"slices"
	"strings"
)

// Source returns a source by name, nil where there is none.
func (p *Pipeline) Source(name string) *Source {
	for _, source := range p.Sources {
		if source.Name == name {
			return source
		}
	}
	return nil
}

// SourceOf returns the source of a bronze table, nil where the table is none.
func (p *Pipeline) SourceOf(table string) *Source {
	if name, found := strings.CutPrefix(table, "bronze."); found {
		return p.Source(name)
	}
	return nil
}

// Model returns the model of a table (layer.table), nil where there is none.
func (p *Pipeline) Model(table string) *Model {
	for _, model := range p.Models {
		if model.Table == table {
			return model
		}
	}
	return nil
}

// KPI returns a KPI by name, nil where there is none.
func (p *Pipeline) KPI(name string) *KPI {
	for _, kpi := range p.KPIs {
		if kpi.Name == name {
			return kpi
		}
	}
	return nil
}

// Flow returns a flow by name, nil where there is none.
func (p *Pipeline) Flow(name string) *Flow {
	for _, flow := range p.Flows {
		if flow.Name == name {
			return flow
		}
	}
	return nil
}

// ChecksOf returns the checks of a table, by name.
func (p *Pipeline) ChecksOf(table string) []*Check {
	var checks []*Check
	for _, check := range p.Checks {
		if check.Table == table {
			checks = append(checks, check)
		}
	}
	return checks
}

// Tables are all tables, each after those that it depends on: bronze by name, then the models.
func (p *Pipeline) Tables() []string {
	tables := make([]string, 0, len(p.Sources)+len(p.Models))
	for _, source := range p.Sources {
		tables = append(tables, source.Table())
	}
	for _, model := range p.Models {
		tables = append(tables, model.Table)
	}
	return tables
}

// TablesOf are the tables of a flow, with all that they depend on, each after those that it depends on; for a flow of
// maintenance the tables that it maintains.
func (p *Pipeline) TablesOf(flow *Flow) []string {
	if flow.Maintenance != nil {
		return slices.DeleteFunc(p.maintainable(), func(table string) bool {
			return !slices.ContainsFunc(flow.Maintenance.Tables, func(glob string) bool { return selects(glob, table) })
		})
	}
	wanted := map[string]bool{}
	var want func(table string)
	want = func(table string) {
		if wanted[table] {
			return
		}
		wanted[table] = true
		for _, input := range p.DependsOn(table) {
			want(input)
		}
	}
	all := p.Tables()
	for _, table := range all {
		if slices.ContainsFunc(flow.Select, func(glob string) bool { return selects(glob, table) }) {
			want(table)
		}
	}
	return slices.DeleteFunc(all, func(table string) bool { return !wanted[table] })
}

// Columns are the columns of a table; nil where there is no such table. Tables of ops are known here too.
func (p *Pipeline) Columns(table string) []Column {
	if source := p.SourceOf(table); source != nil {
		return BronzeColumns(source.Contract)
	}
	if model := p.Model(table); model != nil {
		return model.Columns
	}
	for _, ops := range OpsTables() {
		if ops.Name == table {
			return ops.Columns
		}
	}
	return nil
}

// PartitionOf says how a table is stored; false where there is no such table. Bronze is one partition.
func (p *Pipeline) PartitionOf(table string) (Partition, bool) {
	if p.SourceOf(table) != nil {
		return Partition{}, true
	}
	if model := p.Model(table); model != nil {
		return model.Partition, true
	}
	for _, ops := range OpsTables() {
		if ops.Name == table {
			return ops.Partition, true
		}
	}
	return Partition{}, false
}

// DateColumn is the date column by which the rows of a table are told apart: that of its partition, for bronze the business
// day. Empty where it has none.
func (p *Pipeline) DateColumn(table string) string {
	if source := p.SourceOf(table); source != nil {
		if source.Contract.BusinessDay != nil {
			return source.Contract.BusinessDay.Column
		}
		return ""
	}
	if partition, ok := p.PartitionOf(table); ok && partition.isDate() {
		return partition.Column
	}
	return ""
}

// DependsOn are the tables that a table reads, sorted; a bronze table reads none.
func (p *Pipeline) DependsOn(table string) []string {
	model := p.Model(table)
	if model == nil {
		return nil
	}
	tables := make([]string, len(model.Inputs))
	for i, input := range model.Inputs {
		tables[i] = input.Table
	}
	return tables
}

// WaitsFor are the tables that come before a table in a run of a flow. Maintenance waits for none: it changes no row.
func (p *Pipeline) WaitsFor(flow *Flow, table string) []string {
	if flow.Maintenance != nil {
		return nil
	}
	return p.DependsOn(table)
}

// Upstream are all tables that a table depends on, directly or not, each after those that it depends on.
func (p *Pipeline) Upstream(table string) []string {
	all := p.TablesOf(&Flow{Select: []string{table}})
	return slices.DeleteFunc(all, func(other string) bool { return other == table })
}

// Downstream are all tables that depend on a table, directly or not, each after those that it depends on.
func (p *Pipeline) Downstream(table string) []string {
	reached := map[string]bool{table: true}
	var tables []string
	for _, model := range p.Models {
		if slices.ContainsFunc(model.Inputs, func(input Input) bool { return reached[input.Table] }) {
			reached[model.Table] = true
			tables = append(tables, model.Table)
		}
	}
	return tables
}

func (p Partition) isDate() bool {
	return p.Transform == TransformDay || p.Transform == TransformMonth
}

// sortTopologically orders tables so that each stands after those that it reads, ties by name. Circles are returned beside,
// each beginning and ending with the same table; the order of their tables means nothing.
func sortTopologically(reads map[string][]string) (order []string, circles [][]string) {
	const (
		fresh = iota
		open
		done
	)
	state := map[string]int{}
	var trail []string
	var visit func(name string)
	visit = func(name string) {
		switch state[name] {
		case done:
			return
		case open:
			circles = append(circles, append(slices.Clone(trail[slices.Index(trail, name):]), name))
			return
		}
		state[name] = open
		trail = append(trail, name)
		for _, input := range reads[name] {
			if _, known := reads[input]; known {
				visit(input)
			}
		}
		trail = trail[:len(trail)-1]
		state[name] = done
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(reads)) {
		visit(name)
	}
	return order, circles
}
