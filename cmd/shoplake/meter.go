package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// meter shows how far something has come: a bar on a terminal, a line now and then elsewhere.
type meter struct {
	w        io.Writer
	what     string
	terminal bool
	said     time.Time
}

func newMeter(w io.Writer, what string) *meter {
	return &meter{w: w, what: what, terminal: isTerminal(w), said: time.Now()}
}

// isTerminal tells whether a person looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const meterWidth = 30

func (m *meter) update(done, all int) {
	if m.terminal {
		full := meterWidth * done / max(all, 1)
		fmt.Fprintf(m.w, "\r%s%s %d/%d %s\x1b[K", strings.Repeat("█", full), strings.Repeat("░", meterWidth-full), done, all, m.what)
		return
	}
	if time.Since(m.said) > 5*time.Second {
		m.said = time.Now()
		fmt.Fprintf(m.w, "%d/%d %s\n", done, all, m.what)
	}
}

func (m *meter) close() {
	if m.terminal {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}
