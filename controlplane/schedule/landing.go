package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// pollLanding is how often landing folders are listed where nothing tells that they changed: network file systems do not.
const pollLanding = 30 * time.Second

// landing knows which files lie in the landing folders of sources. The system tells when a folder changes, and they are listed
// from time to time all the same.
type landing struct {
	folder string
	settle time.Duration
	log    *slog.Logger
	// watcher is nil where the system can't watch folders, or no flow waits for files.
	watcher *fsnotify.Watcher
	begun   bool
	listed  map[string]*listing
}

// listing is what lay in the landing folder of a source.
type listing struct {
	at time.Time
	// files are those that have rested: each is path, size and time.
	files []string
	// newest is when the newest of them landed; zero where there is none.
	newest time.Time
	// again is when a file that was still being written may have rested; zero where there was none.
	again time.Time
}

func openLanding(folder string, settle time.Duration, log *slog.Logger) *landing {
	return &landing{folder: folder, settle: settle, log: log, listed: map[string]*listing{}}
}

// begin begins to watch, when first a flow waits for files.
func (l *landing) begin() {
	if l.begun {
		return
	}
	l.begun = true
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		l.log.Warn("landing folders can't be watched; listing them every 30 s instead", "error", err)
		return
	}
	l.watcher = watcher
	l.watch(l.folder)
}

func (l *landing) close() {
	if l.watcher != nil {
		l.watcher.Close()
	}
}

// changes tells of each change; nil, which never tells anything, where folders can't be watched.
func (l *landing) changes() <-chan fsnotify.Event {
	if l.watcher == nil {
		return nil
	}
	return l.watcher.Events
}

// troubles tells that changes may have been lost.
func (l *landing) troubles() <-chan error {
	if l.watcher == nil {
		return nil
	}
	return l.watcher.Errors
}

// forget makes the next look list again.
func (l *landing) forget() { clear(l.listed) }

// watch has the system tell of changes in a folder and those below it.
func (l *landing) watch(folder string) {
	if l.watcher == nil {
		return
	}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // what went away or can't be read is listed later, and told then
		}
		return l.watcher.Add(path)
	})
	if err != nil {
		l.log.Warn("a landing folder can't be watched; it is listed every 30 s", "folder", folder, "error", err)
	}
}

// look lists the landing folder of a source, where that may have changed.
func (l *landing) look(source *pipeline.Source, now time.Time) (*listing, error) {
	known := l.listed[source.Name]
	if known != nil && now.Sub(known.at).Abs() < pollLanding && (known.again.IsZero() || now.Before(known.again)) {
		return known, nil
	}
	l.begin()
	l.watch(filepath.Join(l.folder, source.Name)) // before it is listed: nothing may land unseen in between
	fresh, err := list(l.folder, source, l.settle, now)
	if err != nil {
		return nil, err
	}
	l.listed[source.Name] = fresh
	return fresh, nil
}

// list lists the files of a source that have rested.
func list(folder string, source *pipeline.Source, settle time.Duration, now time.Time) (*listing, error) {
	files, err := runs.LandingFiles(folder, source)
	if err != nil {
		return nil, err
	}
	found := &listing{at: now}
	for path, f := range files {
		if rested := f.Modified.Add(settle); rested.After(now) {
			if found.again.IsZero() || rested.Before(found.again) {
				found.again = rested
			}
			continue
		}
		found.files = append(found.files, fmt.Sprintf("%s/%s %d %d", source.Name, path, f.Bytes, f.Modified.UnixMicro()))
		found.newest = latest(found.newest, f.Modified)
	}
	return found, nil
}

// digestOf is one text for all the files, in the order of their names.
func digestOf(files []string) string {
	hash := sha256.New()
	for _, f := range files {
		fmt.Fprintf(hash, "%d:%s", len(f), f)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// arrived notices files, and says whether there are new ones. known are those that were noticed before, nil where that is not
// known: then every other set of files counts as news, since a run that finds nothing new does no harm.
func arrived(files []string, known map[string]bool, st State) (news bool, next State) {
	digest := digestOf(files)
	if digest == st.Files {
		return false, st
	}
	for _, f := range files {
		news = news || !known[f]
	}
	st.Files = digest
	return news, st
}
