package kpi

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// sales is a result of two texts and two numbers; an empty text is null.
func sales(t *testing.T, rows ...[4]string) *shoplakev1.RowSet {
	t.Helper()
	set := &shoplakev1.RowSet{Columns: []*shoplakev1.Column{
		{Name: "category", Type: shoplakev1.ColumnType_COLUMN_TYPE_STRING},
		{Name: "currency", Type: shoplakev1.ColumnType_COLUMN_TYPE_STRING},
		{Name: "revenue", Type: shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, Scale: 4},
		{Name: "orders", Type: shoplakev1.ColumnType_COLUMN_TYPE_INT64},
	}}
	for _, cells := range rows {
		row := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for i, cell := range cells {
			row.Fields[set.GetColumns()[i].GetName()] = structpb.NewStringValue(cell)
			if cell == "" {
				row.Fields[set.GetColumns()[i].GetName()] = structpb.NewNullValue()
			}
		}
		set.Rows = append(set.Rows, row)
	}
	return set
}

func maps(list []*structpb.Struct) []map[string]any {
	var all []map[string]any
	for _, s := range list {
		all = append(all, s.AsMap())
	}
	return all
}

func TestChanges(t *testing.T) {
	t.Parallel()
	now := sales(t, [4]string{"toys", "EUR", "150.0000", "3"}, [4]string{"toys", "USD", "1.0000", "1"}, [4]string{"books", "EUR", "-5.0000", "0"},
		[4]string{"garden", "EUR", "", "7"}, [4]string{"twice", "EUR", "1.0000", "1"})
	before := sales(t, [4]string{"books", "EUR", "-10.0000", "0"}, [4]string{"toys", "EUR", "90071992547409930.0000", "2"}, [4]string{"garden", "EUR", "1.0000", "9"},
		[4]string{"twice", "EUR", "1.0000", "1"}, [4]string{"twice", "EUR", "2.0000", "1"})
	want := []map[string]any{
		// Exact where a float would not be: 150 of 90071992547409930 is a change of almost -1.
		{"revenue": "-1.000000", "orders": "0.500000"},
		{},                      // not there before
		{"revenue": "0.500000"}, // less was lost; orders were 0
		{"orders": "-0.222222"}, // revenue is missing
		{},                      // two rows it could be
	}
	if diff := cmp.Diff(want, maps(changes(now, before))); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestAverages(t *testing.T) {
	t.Parallel()
	set := sales(t, [4]string{"a", "EUR", "0.1000", "1"}, [4]string{"a", "USD", "7.0000", "1"}, [4]string{"a", "EUR", "0.2000", "2"},
		[4]string{"a", "EUR", "0.0000", "2"}, [4]string{"a", "USD", "", "3"})
	want := []map[string]any{
		{}, {}, // one row each
		{"revenue": "0.150000", "orders": "1.500000"},
		{"revenue": "0.100000", "orders": "2.000000"},
		{"orders": "2.000000"},
	}
	if diff := cmp.Diff(want, maps(averages(set, 2))); diff != "" {
		t.Errorf("averages (-want +got):\n%s", diff)
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		start, end string
		n          int
		want       []interval
	}{
		{"2026-01-01", "2026-01-08", 3, []interval{{"2026-01-01", "2026-01-03"}, {"2026-01-03", "2026-01-05"}, {"2026-01-05", "2026-01-08"}}},
		{"2026-02-27", "2026-03-02", 12, []interval{{"2026-02-27", "2026-02-28"}, {"2026-02-28", "2026-03-01"}, {"2026-03-01", "2026-03-02"}}},
		{"2026-01-08", "2026-01-01", 3, nil},
	} {
		got, err := parts(c.start, c.end, c.n)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, append([]interval(nil), got...), cmp.AllowUnexported(interval{})); diff != "" {
			t.Errorf("%d parts from %s to %s (-want +got):\n%s", c.n, c.start, c.end, diff)
		}
	}
	if _, err := parts("", "2026-01-01", 3); !errors.Is(err, ErrParameter) {
		t.Errorf("parts of an open range: %v, want ErrParameter", err)
	}
}
