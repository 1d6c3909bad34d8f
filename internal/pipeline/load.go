package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Load reads and checks a pipeline folder. What is wrong with the folder is a Faults, all of it at once; any other error says
// that the folder or the engine could not be asked.
func Load(ctx context.Context, fsys fs.FS, engine Engine) (*Pipeline, error) {
	var faults Faults
	files, err := readFolder(ctx, fsys, &faults)
	if err != nil {
		return nil, err
	}
	l := &loader{
		ctx:      ctx,
		engine:   engine,
		faults:   &faults,
		pipeline: &Pipeline{Digest: Digest(files), Files: files},
		drafts:   map[string]*modelDraft{},
	}
	l.load()
	if l.err != nil {
		return nil, fmt.Errorf("check pipeline folder: %w", l.err)
	}
	if len(faults) > 0 {
		return nil, faults.sorted()
	}
	return l.pipeline, nil
}

// loader holds what one Load knows so far.
type loader struct {
	ctx      context.Context
	engine   Engine
	faults   *Faults
	pipeline *Pipeline
	// drafts are the models by table, also those with faults.
	drafts map[string]*modelDraft
	kpis   []*kpiDraft
	checks []*checkDraft
	// broken are the bronze tables whose contract has faults: what reads them is not bound, but knows that they exist.
	broken map[string]bool
	// err is what kept the engine from answering.
	err error
}

func (l *loader) load() {
	p := l.pipeline
	var config *document
	if content, there := p.Files[configFile]; there {
		config = readConfig(p, content, l.faults)
	} else {
		l.faults.add(configFile, 0, 0, "is missing: it names the pipeline, its time zone, its currency and its flows")
	}
	l.broken = map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(p.Files)) {
		kind, name := classify(file, l.faults)
		content := p.Files[file]
		switch kind {
		case fileContract:
			source := readContract(file, name, content, l.faults)
			if source == nil {
				l.broken["bronze."+name] = true
				continue
			}
			p.Sources = append(p.Sources, source)
		case fileModel:
			l.readModel(file, content)
		case fileKPI:
			l.readKPI(file, name, content)
		case fileCheck:
			l.readCheck(file, name, content)
		}
		if l.err != nil {
			return
		}
	}
	if len(p.Sources) == 0 && len(l.broken) == 0 {
		l.faults.add(contractFolder, 0, 0, "holds no contract: a pipeline reads at least one source (%s/<source>%s)", contractFolder, contractSuffix)
	}
	for _, step := range []func(){l.bindContracts, l.bindModels, l.bindKPIs, l.bindChecks} {
		if step(); l.err != nil {
			return
		}
	}
	if config != nil && len(l.drafts) == len(p.Models) && len(l.broken) == 0 {
		checkFlows(p, config, l.faults)
	}
}

// exists says whether the folder holds the table, with faults or not.
func (l *loader) exists(table string) bool {
	return l.drafts[table] != nil || l.broken[table] || l.pipeline.SourceOf(table) != nil
}

// statement is the SQL of a file, with what it names.
type statement struct {
	*sqlFile
	parsed *ParsedSQL
	// tables are those that it reads, each once, sorted.
	tables []string
	// sound is false where a fault keeps it from being bound.
	sound bool
}

// readSQL splits and parses a file; nil where it has no statement.
func (l *loader) readSQL(file string, content []byte) *statement {
	split := splitHeader(file, content, l.faults)
	if split == nil {
		return nil
	}
	s := &statement{sqlFile: split, parsed: &ParsedSQL{}}
	parsed, err := l.engine.Parse(l.ctx, split.sql)
	if err != nil {
		l.engineFault(s, err)
		return s
	}
	s.parsed = parsed
	s.sound = true
	for _, ref := range parsed.Tables {
		if !slices.Contains(s.tables, ref.Table) {
			s.tables = append(s.tables, ref.Table)
		}
	}
	slices.Sort(s.tables)
	return s
}

// sqlMessage is what the engine says of a statement; false where the error is about something else.
func sqlMessage(err error) (string, bool) {
	var sqlError *SQLError
	if errors.As(err, &sqlError) {
		return sqlError.Message, true
	}
	return "", false
}

// engineFault turns what the engine says of a statement into a fault of the file.
func (l *loader) engineFault(s *statement, err error) {
	var sqlError *SQLError
	if !errors.As(err, &sqlError) {
		if l.err == nil {
			l.err = fmt.Errorf("%s: %w", s.file, err)
		}
		return
	}
	line, column := s.headerLines+1, 0
	if sqlError.Line > 0 {
		line, column = s.headerLines+sqlError.Line, sqlError.Column
	}
	l.faults.add(s.file, line, column, "%s", sqlError.Message)
}

// faultTable faults every place where a statement names a table.
func (l *loader) faultTable(s *statement, table, format string, args ...any) {
	for _, ref := range s.parsed.Tables {
		if ref.Table == table {
			l.faults.add(s.file, s.headerLines+max(ref.Line, 1), ref.Column, format, args...)
		}
	}
	s.sound = false
}

// checkTables faults tables that the folder does not hold, or that may not be read here.
func (l *loader) checkTables(s *statement, refuse func(table string) string) {
	for _, table := range s.tables {
		layer, _, _ := strings.Cut(table, ".")
		switch reason := refuse(table); {
		case reason != "":
			l.faultTable(s, table, "%s", reason)
		case l.exists(table):
		case layer == "bronze":
			l.faultTable(s, table, "unknown table %s: there is no %s", table, contractFolder+"/"+strings.TrimPrefix(table, "bronze.")+contractSuffix)
		case layer == "silver" || layer == "gold":
			l.faultTable(s, table, "unknown table %s: there is no %s%s", table, strings.Replace(table, ".", "/", 1), sqlSuffix)
		default:
			l.faultTable(s, table, "unknown table %s: tables are named bronze.<source>, silver.<file> and gold.<file>", table)
		}
	}
}

// checkParams faults parameters that are used and not declared.
func (l *loader) checkParams(s *statement, declared func(name string) bool, advice string) {
	for _, name := range s.parsed.Params {
		if !declared(name) {
			line, column := findParam(s.sql, name)
			l.faults.add(s.file, s.headerLines+line, column, "undeclared parameter $%s: %s", name, advice)
			s.sound = false
		}
	}
}

// findParam returns where a parameter stands first in a statement.
func findParam(sql, name string) (line, column int) {
	at := regexp.MustCompile(`(?i)\$` + regexp.QuoteMeta(name) + `\b`).FindStringIndex(blankOut(sql))
	if at == nil {
		return 1, 0
	}
	before := sql[:at[0]]
	begin := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[begin:]) + 1
}

// describe binds a statement; nil where it is not sound, or reads a table whose columns are unknown because of other faults.
func (l *loader) describe(s *statement, params map[string]string) []Column {
	if !s.sound || l.err != nil {
		return nil
	}
	tables := map[string][]Column{}
	for _, table := range s.tables {
		columns := l.pipeline.Columns(table)
		if columns == nil {
			return nil
		}
		tables[table] = columns
	}
	columns, err := l.engine.Describe(l.ctx, s.sql, tables, params)
	if err != nil {
		l.engineFault(s, err)
		return nil
	}
	return columns
}

// checkOutput faults columns that have no proper or no unique name; it returns whether all is well.
func (l *loader) checkOutput(s *statement, columns []Column) bool {
	sound := true
	seen := map[string]bool{}
	for _, column := range columns {
		name := strings.ToLower(column.Name)
		switch {
		case seen[name]:
			l.faults.add(s.file, s.headerLines+1, 0, "the SELECT yields two columns named %s: rename one with AS", name)
			sound = false
		case !columnPattern.MatchString(column.Name):
			l.faults.add(s.file, s.headerLines+1, 0, "the SELECT yields a column named %s: name it with AS (%s)", shorten(column.Name), nameRule)
			sound = false
		}
		seen[name] = true
	}
	return sound
}

func hasColumn(columns []Column, name string) bool {
	return columnType(columns, name) != ""
}

// columnType is the type of a column, empty where there is no such column.
func columnType(columns []Column, name string) string {
	for _, column := range columns {
		if column.Name == name {
			return column.Type
		}
	}
	return ""
}

// columnNames lists columns for a message.
func columnNames(columns []Column) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.Name
	}
	return strings.Join(names, ", ")
}
