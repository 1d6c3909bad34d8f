package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// EnsureTable makes a table of a name layer.table, or evolves it: columns are added (as columns that may be null, whatever
// is asked), types widened, and the partition changed for files to come: those that are there keep theirs until they are
// replaced. A column that is no longer asked for stays, no longer required. Where Iceberg cannot do the change the error wraps
// ErrIncompatible. The table returned has the columns that were asked for, in that order, as the table has them: with ids, a
// wider type where the table's is wider.
func (l *Lake) EnsureTable(ctx context.Context, name string, schema Schema) (*Table, error) {
	doing := "ensure table " + name
	if err := l.needCatalog(doing); err != nil {
		return nil, err
	}
	ident, err := identifier(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if err := schema.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	unlock, err := l.lock(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	defer unlock()

	var t *table.Table
	err = retry(ctx, func() error {
		t, err = l.load(ctx, name)
		if errors.Is(err, ErrNotFound) {
			t, err = l.create(ctx, ident, schema)
		}
		if err != nil {
			return err
		}
		t, err = evolve(ctx, t, schema)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	result, err := tableAt(name, t, t.Schema(), t.CurrentSnapshot())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	result.Columns = result.chosen(schema)
	return result, nil
}

// chosen are the columns that a schema asks for, in its order, as s has them.
func (s Schema) chosen(asked Schema) []Column {
	columns := make([]Column, 0, len(asked.Columns))
	for _, wanted := range asked.Columns {
		c, _ := s.column(wanted.Name)
		columns = append(columns, c)
	}
	return columns
}

// create makes the table with the columns that are no lists; evolve adds those, which gives their elements the next id.
func (l *Lake) create(ctx context.Context, ident table.Identifier, schema Schema) (*table.Table, error) {
	plain := Schema{Partition: schema.Partition}
	for _, c := range schema.Columns {
		if !c.list() {
			c.ID = len(plain.Columns) + 1
			plain.Columns = append(plain.Columns, c)
		}
	}
	sc, spec, err := plain.iceberg()
	if err != nil {
		return nil, err
	}
	if err := l.cat.CreateNamespace(ctx, ident[:1], nil); err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
		return nil, err
	}
	var t *table.Table
	err = failpoint.Around(ctx, failpoint.CreateTable, func() error {
		t, err = l.cat.CreateTable(ctx, ident, sc,
			catalog.WithLocation(l.location(ident)),
			catalog.WithPartitionSpec(&spec),
			catalog.WithProperties(iceberg.Properties{
				table.PropertyFormatVersion:   strconv.Itoa(tableFormat),
				table.CommitNumRetriesKey:     "0", // Commit retries itself, from a fresh look at the table
				table.ManifestMergeEnabledKey: "true",
			}))
		return err
	})
	return t, err
}

// location is a table's folder. The library takes it for a URL, so that a path that a URL would spell in another way is
// given as one.
func (l *Lake) location(ident table.Identifier) string {
	path := filepath.Join(l.warehouse, ident[0], ident[1])
	if u, err := url.Parse(path); err == nil && u.Path == path && u.JoinPath("x").String() == path+"/x" {
		return path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// folder is the path of a location.
func folder(location string) string {
	if rest, ok := strings.CutPrefix(location, "file://"); ok {
		if path, err := url.PathUnescape(rest); err == nil {
			return path
		}
	}
	return location
}

// evolve brings a table's columns, and then its partition, to those asked for.
func evolve(ctx context.Context, t *table.Table, schema Schema) (*table.Table, error) {
	tx, err := evolution(t, schema)
	if err != nil {
		return nil, err
	}
	if tx != nil {
		if t, err = tx.Commit(ctx); err != nil {
			return nil, err
		}
	}
	if tx, err = repartition(t, schema.Partition); err != nil || tx == nil {
		return t, err
	}
	return tx.Commit(ctx)
}

// repartition is the change that brings a table's partition to the one asked for; nil where there is nothing to change.
func repartition(t *table.Table, wanted Partition) (*table.Transaction, error) {
	spec := t.Spec()
	if is, err := partitionOf(t.Schema(), spec); err != nil || is == wanted {
		return nil, err
	}
	tx := t.NewTransaction()
	update := tx.UpdateSpec(true)
	for _, field := range spec.Fields() {
		update.RemoveField(field.Name)
	}
	if wanted != (Partition{}) {
		transform, name := wanted.iceberg()
		update.AddField(wanted.Column, transform, name)
	}
	if err := update.Commit(); err != nil {
		return nil, fmt.Errorf("%w: partition it by %s: %w", ErrIncompatible, wanted, err)
	}
	return tx, nil
}

// partitioned says whether a table is or was partitioned by a column.
func partitioned(t *table.Table, fieldID int) bool {
	for _, spec := range t.Metadata().PartitionSpecs() {
		for _, field := range spec.Fields() {
			if field.SourceID() == fieldID {
				return true
			}
		}
	}
	return false
}

// evolution is the change that brings a table's columns to those asked for; nil where there is nothing to change.
func evolution(t *table.Table, schema Schema) (*table.Transaction, error) {
	sc := t.Schema()
	if _, err := partitionOf(sc, t.Spec()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	tx := t.NewTransaction()
	update := tx.UpdateSchema(true, false)
	changed := false
	for _, c := range schema.Columns {
		wanted, err := icebergType(c.Type)
		if err != nil {
			return nil, err
		}
		field, ok := sc.FindFieldByName(c.Name)
		if !ok {
			update.AddColumn([]string{c.Name}, wanted, "", false, nil)
			changed = true
			continue
		}
		var change table.ColumnUpdate
		if field.Required && !c.Required {
			change.Required = iceberg.Optional[bool]{Valid: true, Val: false}
		}
		wider, err := widen(field.Type, wanted)
		if err != nil {
			return nil, fmt.Errorf("%w: column %s: %w", ErrIncompatible, c.Name, err)
		}
		if wider {
			if partitioned(t, field.ID) {
				return nil, fmt.Errorf("%w: column %s: the type of a column that partitions the table, or did, cannot change", ErrIncompatible, c.Name)
			}
			change.FieldType = iceberg.Optional[iceberg.Type]{Valid: true, Val: wanted}
		}
		if change != (table.ColumnUpdate{}) {
			update.UpdateColumn([]string{c.Name}, change)
			changed = true
		}
	}
	for _, f := range sc.Fields() {
		if _, ok := schema.column(f.Name); !ok && f.Required {
			update.UpdateColumn([]string{f.Name}, table.ColumnUpdate{Required: iceberg.Optional[bool]{Valid: true, Val: false}})
			changed = true
		}
	}
	if !changed {
		return nil, nil
	}
	if err := update.Commit(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	return tx, nil
}

// widen says whether a column must become wider to hold a type; a narrower type fits as it is.
func widen(has, wanted iceberg.Type) (bool, error) {
	if list, ok := has.(*iceberg.ListType); ok {
		if other, ok := wanted.(*iceberg.ListType); ok && list.Element.Equals(other.Element) {
			return false, nil
		}
	} else if has.Equals(wanted) || widens(wanted, has) {
		return false, nil
	} else if widens(has, wanted) {
		return true, nil
	}
	from, _ := duckType(has)
	to, _ := duckType(wanted)
	return false, fmt.Errorf("%s cannot become %s: give the column another name, or cast it to %s", from, to, from)
}

// widens says whether Iceberg can widen a type to another.
func widens(from, to iceberg.Type) bool {
	switch from := from.(type) {
	case iceberg.Int32Type:
		return to.Equals(iceberg.PrimitiveTypes.Int64)
	case iceberg.Float32Type:
		return to.Equals(iceberg.PrimitiveTypes.Float64)
	case iceberg.DecimalType:
		wide, ok := to.(iceberg.DecimalType)
		return ok && wide.Scale() == from.Scale() && wide.Precision() > from.Precision()
	}
	return false
}

// String writes a partition as a model's header does; "nothing" where there is one partition.
func (p Partition) String() string {
	switch p.Transform {
	case "":
		return "nothing"
	case Identity:
		return p.Column
	}
	return fmt.Sprintf("%s(%s)", p.Transform, p.Column)
}

// Tables gives the names of all tables, layer.table, in order.
func (l *Lake) Tables(ctx context.Context) ([]string, error) {
	if err := l.needCatalog("list tables"); err != nil {
		return nil, err
	}
	namespaces, err := l.cat.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var names []string
	for _, ns := range namespaces {
		for ident, err := range l.cat.ListTables(ctx, ns) {
			if err != nil {
				return nil, fmt.Errorf("list tables of %s: %w", strings.Join(ns, "."), err)
			}
			names = append(names, strings.Join(ident, "."))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Table gives a table as it is now, with the columns that EnsureTable last gave it. Where there is none the error wraps ErrNotFound.
func (l *Lake) Table(ctx context.Context, name string) (*Table, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	result, err := tableAt(name, t, t.Schema(), t.CurrentSnapshot())
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", name, err)
	}
	return result, nil
}

// TableAt gives a table as it was at a snapshot, with the columns that it had when that was committed; at snapshot 0 it is empty.
func (l *Lake) TableAt(ctx context.Context, name string, snapshotID int64) (*Table, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read table %s at snapshot %d: %w", name, snapshotID, err)
	}
	var snapshot *table.Snapshot
	sc := t.Schema()
	if snapshotID != 0 {
		if snapshot = t.SnapshotByID(snapshotID); snapshot == nil {
			return nil, fmt.Errorf("read table %s at snapshot %d: %w: it may have expired", name, snapshotID, ErrNotFound)
		}
		if id := snapshot.SchemaID; id != nil && t.Schemas()[*id] != nil {
			sc = t.Schemas()[*id]
		}
	}
	result, err := tableAt(name, t, sc, snapshot)
	if err != nil {
		return nil, fmt.Errorf("read table %s at snapshot %d: %w", name, snapshotID, err)
	}
	return result, nil
}

// Snapshots gives a table's history, newest first.
func (l *Lake) Snapshots(ctx context.Context, name string) ([]Snapshot, error) {
	t, err := l.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list snapshots of %s: %w", name, err)
	}
	return snapshotsOf(t), nil
}

// snapshotsOf is a table's history, newest first.
func snapshotsOf(t *table.Table) []Snapshot {
	snapshots := t.Metadata().Snapshots()
	slices.SortFunc(snapshots, func(a, b table.Snapshot) int { return cmp.Compare(b.SequenceNumber, a.SequenceNumber) })
	referenced := map[int64]bool{}
	for name, ref := range t.Metadata().Refs() {
		switch {
		case name == table.MainBranch:
		case ref.SnapshotRefType == table.TagRef:
			referenced[ref.SnapshotID] = true
		default:
			for _, s := range table.AncestorsOf(ref.SnapshotID, t.SnapshotByID) {
				referenced[s.SnapshotID] = true
			}
		}
	}
	result := make([]Snapshot, 0, len(snapshots))
	for _, s := range snapshots {
		r := Snapshot{ID: s.SnapshotID, Time: time.UnixMilli(s.TimestampMs).UTC(), Referenced: referenced[s.SnapshotID]}
		if s.ParentSnapshotID != nil {
			r.ParentID = *s.ParentSnapshotID
		}
		if s.Summary != nil {
			r.Operation, r.Summary = string(s.Summary.Operation), maps.Clone(s.Summary.Properties)
		}
		result = append(result, r)
	}
	return result
}

// tableAt tells an Iceberg table in our terms, with the columns of a schema; a nil snapshot is the empty table.
func tableAt(name string, t *table.Table, sc *iceberg.Schema, snapshot *table.Snapshot) (*Table, error) {
	schema, err := schemaOf(sc, specFor(t, sc))
	if err != nil {
		return nil, err
	}
	result := &Table{Name: name, Schema: schema, Location: folder(t.Location())}
	if snapshot != nil {
		result.SnapshotID, result.Time = snapshot.SnapshotID, time.UnixMilli(snapshot.TimestampMs).UTC()
		if snapshot.Summary != nil {
			result.Summary = maps.Clone(snapshot.Summary.Properties)
		}
	}
	return result, nil
}

// specFor is the partition spec of a table with the columns of a schema: the current one or, where that needs a column that
// came later, the latest that does not.
func specFor(t *table.Table, sc *iceberg.Schema) iceberg.PartitionSpec {
	fits := func(spec iceberg.PartitionSpec) bool {
		for _, field := range spec.Fields() {
			if _, ok := sc.FindFieldByID(field.SourceID()); !ok {
				return false
			}
		}
		return true
	}
	if spec := t.Spec(); fits(spec) {
		return spec
	}
	for _, spec := range slices.Backward(t.Metadata().PartitionSpecs()) {
		if fits(spec) {
			return spec
		}
	}
	return *iceberg.UnpartitionedSpec
}

// currentID is the id of a table's current snapshot, 0 where it has none.
func currentID(t *table.Table) int64 {
	if s := t.CurrentSnapshot(); s != nil {
		return s.SnapshotID
	}
	return 0
}

// load reads a table's current metadata.
func (l *Lake) load(ctx context.Context, name string) (*table.Table, error) {
	if err := l.needCatalog("read table " + name); err != nil {
		return nil, err
	}
	ident, err := identifier(name)
	if err != nil {
		return nil, err
	}
	t, err := l.cat.LoadTable(ctx, ident)
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		return nil, fmt.Errorf("table %s: %w", name, ErrNotFound)
	}
	return t, err
}

// identifier splits a name layer.table.
func identifier(name string) (table.Identifier, error) {
	layer, rest, _ := strings.Cut(name, ".")
	if !namePattern.MatchString(layer) || !namePattern.MatchString(rest) {
		return nil, fmt.Errorf("%q is no table name such as silver.orders (lower-case letters, digits and _): %w", name, ErrNotFound)
	}
	return table.Identifier{layer, rest}, nil
}
