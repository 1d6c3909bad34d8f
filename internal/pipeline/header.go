package pipeline

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// headerLine is one `-- key: value` line at the top of an SQL file.
type headerLine struct {
	// key is the first word, lower case; subject is what stands between it and the colon (-- input gold.orders: same).
	key, subject, value string
	// line counts from 1; keyColumn and valueColumn are where they begin, from 1.
	line, keyColumn, valueColumn int
}

// sqlFile is an SQL file, split into header and statement.
type sqlFile struct {
	file        string
	header      []headerLine
	sql         string
	headerLines int
}

var headerShape = regexp.MustCompile(`^--([ \t]*)([A-Za-z_]+)(?:([ \t]+)([^:]*?))?([ \t]*:[ \t]*)(.*)$`)

// splitHeader splits a file. The header is the comment lines at the very top: each is `-- key: value`, and a line that is
// indented deeper (two spaces or more after the dashes) continues the value above. The first line that is no comment, an
// empty one too, ends it.
func splitHeader(file string, content []byte, faults *Faults) *sqlFile {
	result := &sqlFile{file: file}
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		faults.add(file, 0, 0, "is not UTF-8 text")
		return nil
	}
	text := strings.TrimPrefix(string(content), "\ufeff")
	rest := text
	for strings.HasPrefix(rest, "--") {
		line, after, _ := strings.Cut(rest, "\n")
		rest = after
		result.headerLines++
		result.readLine(strings.TrimRight(line, " \t\r"), faults)
	}
	result.sql = rest
	if strings.TrimSpace(rest) == "" {
		faults.add(file, result.headerLines+1, 1, "has no SQL: a file holds one SELECT")
		return nil
	}
	return result
}

func (f *sqlFile) readLine(line string, faults *Faults) {
	body := strings.TrimPrefix(line, "--")
	if strings.HasPrefix(body, "  ") && len(f.header) > 0 {
		last := &f.header[len(f.header)-1]
		last.value = strings.TrimSpace(last.value + " " + strings.TrimSpace(body))
		return
	}
	match := headerShape.FindStringSubmatchIndex(line)
	if match == nil {
		faults.add(f.file, f.headerLines, 1, "is no header line: write `-- key: value`, and other comments below an empty line")
		return
	}
	part := func(i int) string {
		if match[2*i] < 0 {
			return ""
		}
		return line[match[2*i]:match[2*i+1]]
	}
	f.header = append(f.header, headerLine{
		key:         strings.ToLower(part(2)),
		subject:     strings.TrimSpace(part(4)),
		value:       strings.TrimSpace(part(6)),
		line:        f.headerLines,
		keyColumn:   utf8.RuneCountInString(line[:match[4]]) + 1,
		valueColumn: utf8.RuneCountInString(line[:match[12]]) + 1,
	})
}

// headerReader hands out the lines of a header and faults what is left.
type headerReader struct {
	file   *sqlFile
	faults *Faults
	used   map[int]bool
}

func newHeaderReader(file *sqlFile, faults *Faults) *headerReader {
	return &headerReader{file: file, faults: faults, used: map[int]bool{}}
}

// one returns the line of a key that has no subject and may stand once; nil where it is absent.
func (r *headerReader) one(key string) *headerLine {
	var found *headerLine
	for i := range r.file.header {
		line := &r.file.header[i]
		if line.key != key {
			continue
		}
		r.used[i] = true
		switch {
		case line.subject != "":
			r.fault(line, "write `-- %s: value`", key)
		case found != nil:
			r.fault(line, "%s stands in the header twice", key)
		case line.value == "":
			r.fault(line, "%s has no value", key)
		default:
			found = line
		}
	}
	return found
}

// text returns the value of a key, empty where it is absent.
func (r *headerReader) text(key string) string {
	if line := r.one(key); line != nil {
		return line.value
	}
	return ""
}

// each returns the lines of a key that has a subject.
func (r *headerReader) each(key string) []*headerLine {
	var lines []*headerLine
	seen := map[string]bool{}
	for i := range r.file.header {
		line := &r.file.header[i]
		if line.key != key {
			continue
		}
		r.used[i] = true
		switch {
		case line.subject == "":
			r.fault(line, "write `-- %s name: value`", key)
		case seen[line.subject]:
			r.fault(line, "%s %s stands in the header twice", key, line.subject)
		case line.value == "":
			r.fault(line, "%s %s has no value", key, line.subject)
		default:
			seen[line.subject] = true
			lines = append(lines, line)
		}
	}
	return lines
}

// finish faults the keys that nobody asked for.
func (r *headerReader) finish(known ...string) {
	for i := range r.file.header {
		if line := &r.file.header[i]; !r.used[i] {
			r.fault(line, "unknown key %q in the header: known are %s", line.key, strings.Join(known, ", "))
		}
	}
}

// fault faults the key of a line.
func (r *headerReader) fault(line *headerLine, format string, args ...any) {
	r.faults.add(r.file.file, line.line, line.keyColumn, format, args...)
}

// faultValue faults the value of a line.
func (r *headerReader) faultValue(line *headerLine, format string, args ...any) {
	r.faults.add(r.file.file, line.line, line.valueColumn, format, args...)
}

// names splits a list of column names.
func (r *headerReader) names(line *headerLine, list string) []string {
	var names []string
	for _, name := range strings.Split(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !columnPattern.MatchString(name):
			r.faultValue(line, "%q is no column name", name)
		case slices.Contains(names, name):
			r.faultValue(line, "column %s stands here twice", name)
		default:
			names = append(names, name)
		}
	}
	return names
}

// columnPattern is what columns of tables may be called; bronze has some that begin with an underscore.
var columnPattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
