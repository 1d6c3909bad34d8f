package lake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/apache/iceberg-go"
	icebergsql "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver "sqlite" of the catalog
)

var (
	// ErrNotFound says that a table or a snapshot does not exist (or that the snapshot has expired).
	ErrNotFound = errors.New("not found in the lake")
	// ErrMoved says that a table is no longer as a change was planned on: plan it again.
	ErrMoved = errors.New("the table has moved")
	// ErrStaged says that a staged file is gone, or not what it was described as.
	ErrStaged = errors.New("a staged file is not what it was")
	// ErrFenced says that a newer writer has taken the table over: stop writing.
	ErrFenced = errors.New("a newer writer has taken the table over")
	// ErrExpired says that what changed between two snapshots can no longer be told: the history between them has expired.
	ErrExpired = errors.New("the history has expired")
	// ErrIncompatible says that a table's schema cannot become the one asked for.
	ErrIncompatible = errors.New("incompatible schema")
)

const (
	// catalogName is the name under which the tables stand in the SQL catalog; other Iceberg clients must use the same.
	catalogName = "shoplake"
	idFile      = "lake.json"
	idVersion   = 1
	// busyTimeout is how long a statement waits for another process that writes the catalog, in milliseconds.
	busyTimeout = "15000"
)

// Config says where a lake lies.
type Config struct {
	// Warehouse is the folder of all tables, absolute.
	Warehouse string
	// Catalog is the path of the SQLite catalog; empty means catalog.db in the warehouse.
	Catalog string
}

// Lake is a warehouse folder and, where it was opened and not attached, its catalog. It is safe for concurrent use.
type Lake struct {
	warehouse string // without symbolic links
	given     string // as it was configured
	catalog   string
	id        string
	root      *os.Root
	db        *sql.DB
	cat       *icebergsql.Catalog
	// commits is the catalog as commits reach it.
	commits   table.CatalogIO
	manifests *manifestCache
	closeOnce sync.Once
	closeErr  error

	writersMu sync.Mutex
	writers   map[string]chan struct{} // one slot a table, so that commits of one process do not race each other
}

// identity is what lake.json holds.
type identity struct {
	Version   int       `json:"version"`
	ID        string    `json:"id"`
	Warehouse string    `json:"warehouse"`
	Created   time.Time `json:"created"`
}

// Open opens the lake of a warehouse folder and its catalog, and makes both where they do not exist yet.
func Open(ctx context.Context, cfg Config) (*Lake, error) {
	if !filepath.IsAbs(cfg.Warehouse) {
		return nil, fmt.Errorf("open lake %q: the warehouse must be an absolute path", cfg.Warehouse)
	}
	if err := os.MkdirAll(cfg.Warehouse, 0o755); err != nil {
		return nil, fmt.Errorf("open lake: make its warehouse folder: %w", err)
	}
	l, err := newLake(cfg, true)
	if err != nil {
		return nil, err
	}
	if err := l.openCatalog(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Attach gives access to the files of a lake that Open has made, without its catalog: only Describe, Staging, WriteObject
// and ReadObject work.
func Attach(_ context.Context, cfg Config) (*Lake, error) {
	if !filepath.IsAbs(cfg.Warehouse) {
		return nil, fmt.Errorf("attach lake %q: the warehouse must be an absolute path", cfg.Warehouse)
	}
	return newLake(cfg, false)
}

func newLake(cfg Config, create bool) (*Lake, error) {
	// Tables name their files by absolute path, so that all processes must agree on one spelling of it.
	warehouse, err := filepath.EvalSymlinks(cfg.Warehouse)
	if err != nil {
		return nil, fmt.Errorf("open lake: resolve its warehouse folder (is the right disk mounted?): %w", err)
	}
	root, err := os.OpenRoot(warehouse)
	if err != nil {
		return nil, fmt.Errorf("open lake: open its warehouse folder: %w", err)
	}
	l := &Lake{
		warehouse: warehouse,
		given:     filepath.Clean(cfg.Warehouse),
		catalog:   cfg.Catalog,
		root:      root,
		manifests: newManifestCache(maxCachedFiles),
		writers:   map[string]chan struct{}{},
	}
	if l.catalog == "" {
		l.catalog = filepath.Join(warehouse, "catalog.db")
	}
	if err := l.identify(create); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// identify reads lake.json, or writes it where create is set and there is none.
func (l *Lake) identify(create bool) error {
	data, err := l.root.ReadFile(idFile)
	if errors.Is(err, fs.ErrNotExist) && create {
		if err := l.writeIdentity(); err != nil {
			return fmt.Errorf("open lake %s: write its id: %w", l.warehouse, err)
		}
		data, err = l.root.ReadFile(idFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open lake %s: there is no %s: this is not the warehouse folder of a lake, or its disk is not mounted: %w",
			l.warehouse, idFile, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("open lake %s: read its id: %w", l.warehouse, err)
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return fmt.Errorf("open lake %s: read %s: %w", l.warehouse, idFile, err)
	}
	if id.Version != idVersion {
		return fmt.Errorf("open lake %s: its version is %d, this program knows %d: use the program that made it", l.warehouse, id.Version, idVersion)
	}
	if id.ID == "" {
		return fmt.Errorf("open lake %s: %s holds no id", l.warehouse, idFile)
	}
	if id.Warehouse != l.warehouse {
		return fmt.Errorf("open lake %s: it was made at %s, and its tables name their files by that path: move or mount it there", l.warehouse, id.Warehouse)
	}
	l.id = id.ID
	return nil
}

// writeIdentity writes lake.json whole and only once, whoever else opens the lake at the same moment.
func (l *Lake) writeIdentity() error {
	data, err := json.MarshalIndent(identity{Version: idVersion, ID: uuid.NewString(), Warehouse: l.warehouse, Created: time.Now().UTC()}, "", "  ")
	if err != nil {
		return err
	}
	temp := idFile + "." + uuid.NewString() + ".tmp"
	if err := l.writeSynced(temp, append(data, '\n')); err != nil {
		return err
	}
	err = l.root.Link(temp, idFile)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, l.root.Remove(temp))
}

func (l *Lake) openCatalog(ctx context.Context) error {
	if !filepath.IsAbs(l.catalog) {
		return fmt.Errorf("open catalog %q: it must be an absolute path", l.catalog)
	}
	if err := os.MkdirAll(filepath.Dir(l.catalog), 0o755); err != nil {
		return fmt.Errorf("open catalog: make its folder: %w", err)
	}
	query := url.Values{"_pragma": {"busy_timeout(" + busyTimeout + ")", "journal_mode(WAL)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
	dsn := url.URL{Scheme: "file", Path: l.catalog, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return fmt.Errorf("open catalog %s: %w", l.catalog, err)
	}
	// SQLite has one writer; one connection keeps ours from waiting for each other by polling.
	db.SetMaxOpenConns(1)
	l.db = db
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("open catalog %s: %w", l.catalog, err)
	}
	l.cat, err = icebergsql.NewCatalog(catalogName, db, icebergsql.SQLite, iceberg.Properties{})
	if err != nil {
		return fmt.Errorf("open catalog %s: %w", l.catalog, err)
	}
	l.commits = l.cat
	return nil
}

// Close releases the catalog and the folder. A second Close does nothing.
func (l *Lake) Close() error {
	l.closeOnce.Do(func() {
		var errs []error
		if l.cat != nil {
			errs = append(errs, l.cat.Close())
		}
		if l.db != nil {
			errs = append(errs, l.db.Close())
		}
		errs = append(errs, l.root.Close())
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// ID names the lake; it never changes.
func (l *Lake) ID() string { return l.id }

// Warehouse is the folder of all tables: absolute, without symbolic links.
func (l *Lake) Warehouse() string { return l.warehouse }

// needCatalog refuses what an attached lake cannot do.
func (l *Lake) needCatalog(doing string) error {
	if l.cat == nil {
		return fmt.Errorf("%s: this process is attached to the lake's files only: ask the control plane, which opens the catalog", doing)
	}
	return nil
}
