package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a pipeline folder.
type Fault struct {
	// File is the path below the folder; empty where the folder as a whole is meant.
	File string
	// Line and Column count from 1; 0 where the fault has no place in the file.
	Line, Column int
	Message      string
}

// String is file:line:column: message, without the parts that are unknown.
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
			if f.Column > 0 {
				fmt.Fprintf(&b, ":%d", f.Column)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults are all that is wrong with a pipeline folder, by file, line and column.
type Faults []Fault

// Error is a summary, followed by every fault.
func (f Faults) Error() string {
	if len(f) == 1 {
		return "the pipeline has a fault: " + f[0].String()
	}
	return fmt.Sprintf("the pipeline has %d faults:\n%s", len(f), f.Text())
}

// Text is one line a fault: file:line:column: message.
func (f Faults) Text() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns the faults in order, each once.
func (f Faults) sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(f)
}

// add appends a fault. The message becomes one line: engines and parsers like to write several.
func (f *Faults) add(file string, line, column int, format string, args ...any) {
	var parts []string
	for _, part := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		if part = strings.TrimSpace(part); part != "" {
			parts = append(parts, part)
		}
	}
	*f = append(*f, Fault{File: file, Line: line, Column: column, Message: strings.Join(parts, "; ")})
}
