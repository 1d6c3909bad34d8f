package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// ManifestName is the file, beside landing/, that tells what was planted.
const ManifestName = "generated.json"

// Manifest tells what the generated files hold: how many rows, and which of them break which rules.
type Manifest struct {
	// Runs are the configurations that made the files, the latest last.
	Runs []ManifestRun `json:"runs"`
	// Sources are by name: orders, inventory, user_activity.
	Sources map[string]*SourceManifest `json:"sources"`

	mu sync.Mutex
}

// ManifestRun is one call of Generate.
type ManifestRun struct {
	Start    string  `json:"start_date"`
	Days     int     `json:"days"`
	Orders   int     `json:"orders"`
	Events   int     `json:"events"`
	Products int     `json:"products"`
	Seed     uint64  `json:"seed"`
	Dirt     float64 `json:"dirt"`
}

// NextDay is the day after the last that there is, YYYY-MM-DD; empty where there is none.
func (m *Manifest) NextDay() string {
	next := ""
	for _, r := range m.Runs {
		if start, err := time.Parse(time.DateOnly, r.Start); err == nil {
			next = max(next, start.AddDate(0, 0, r.Days).Format(time.DateOnly))
		}
	}
	return next
}

// SourceManifest sums up a source.
type SourceManifest struct {
	// Rows counts records, Bad those of them that break a rule; the others belong into bronze.
	Rows int `json:"rows"`
	Bad  int `json:"bad_rows"`
	// Rules counts bad rows by rule; a row that breaks two counts in both.
	Rules map[string]int `json:"rules"`
	// Variety counts values that are unusual and good: currency symbols, spaces, other date formats.
	Variety map[string]int `json:"variety"`
	Files   []FileManifest `json:"files"`
}

// FileManifest is one file.
type FileManifest struct {
	// Path is below the source's landing folder.
	Path string `json:"path"`
	Rows int    `json:"rows"`
	// Bad lists the rows that break a rule, by number.
	Bad     []BadRow       `json:"bad,omitempty"`
	Variety map[string]int `json:"variety,omitempty"`
	// Bytes is the file's size.
	Bytes int64 `json:"bytes"`
}

// BadRow is a row that breaks rules.
type BadRow struct {
	// Row is the record's number in its file from 1, the header not counted; 0 where the file as a whole is meant.
	Row   int      `json:"row"`
	Rules []string `json:"rules"`
}

func newManifest(c Config) *Manifest {
	return &Manifest{
		Runs: []ManifestRun{{
			Start: c.Start.Format(time.DateOnly), Days: c.Days, Orders: c.Orders, Events: c.Events, Products: c.Products, Seed: c.Seed, Dirt: c.Dirt,
		}},
		Sources: map[string]*SourceManifest{},
	}
}

// add records a file that was written.
func (m *Manifest) add(source string, f FileManifest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Sources[source] == nil {
		m.Sources[source] = &SourceManifest{}
	}
	m.Sources[source].Files = append(m.Sources[source].Files, f)
}

// write merges what an earlier call left and writes generated.json.
func (m *Manifest) write(folder string) error {
	path := filepath.Join(folder, ManifestName)
	earlier, err := ReadManifest(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		m.merge(earlier)
	}
	for _, s := range m.Sources {
		s.sum()
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadManifest reads the generated.json of a folder.
func ReadManifest(folder string) (*Manifest, error) {
	path := filepath.Join(folder, ManifestName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what was generated: %w", err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("read what was generated: %s: %w; remove the file, and the folder landing beside it, to begin anew", path, err)
	}
	return m, nil
}

// merge keeps what earlier calls say of files that this one has not written.
func (m *Manifest) merge(earlier *Manifest) {
	for _, r := range earlier.Runs {
		if r != m.Runs[len(m.Runs)-1] {
			m.Runs = append([]ManifestRun{r}, m.Runs...)
		}
	}
	sort.SliceStable(m.Runs, func(i, j int) bool { return m.Runs[i].Start < m.Runs[j].Start })
	for name, old := range earlier.Sources {
		s := m.Sources[name]
		if s == nil {
			m.Sources[name] = old
			continue
		}
		written := map[string]bool{}
		for _, f := range s.Files {
			written[f.Path] = true
		}
		for _, f := range old.Files {
			if !written[f.Path] {
				s.Files = append(s.Files, f)
			}
		}
	}
}

func (s *SourceManifest) sum() {
	sort.Slice(s.Files, func(i, j int) bool { return s.Files[i].Path < s.Files[j].Path })
	s.Rows, s.Bad, s.Rules, s.Variety = 0, 0, map[string]int{}, map[string]int{}
	for _, f := range s.Files {
		s.Rows += f.Rows
		s.Bad += len(f.Bad)
		for _, b := range f.Bad {
			for _, r := range b.Rules {
				s.Rules[r]++
			}
		}
		for k, n := range f.Variety {
			s.Variety[k] += n
		}
	}
}
