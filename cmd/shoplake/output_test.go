package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/client"
)

func decimal(t *testing.T, s string) client.Decimal {
	t.Helper()
	d, err := client.ParseDecimal(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func printed(t *testing.T, g *grid, as string) string {
	t.Helper()
	var b bytes.Buffer
	f := format{choiceFlag{value: as}}
	if err := f.print(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sampleGrid(t *testing.T) *grid {
	g := &grid{columns: columns("currency", "revenue:currency", "orders", "day", "rate", "name", "at")}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	g.add("EUR", decimal(t, "99999999999999999999.1250"), int64(math.MaxInt64), client.NewDate(2026, 3, 1), decimal(t, "0.333333"), `a "b", <c>`, at)
	g.add("JPY", decimal(t, "1234.5000"), int64(0), nil, nil, "x\ty\n", at)
	return g
}

func TestJSONIsOneArrayWithExactDigits(t *testing.T) {
	t.Parallel()
	text := printed(t, sampleGrid(t), "json")
	for _, want := range []string{`"revenue": 99999999999999999999.1250`, `"orders": 9223372036854775807`, `"day": "2026-03-01"`, `"rate": null`, `<c>`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\ndoes not hold %s", text, want)
		}
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(text), &rows); err != nil || len(rows) != 2 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if got := printed(t, &grid{columns: columns("a")}, "json"); got != "[]\n" {
		t.Errorf("no rows are %q", got)
	}
}

func TestCSVIsExact(t *testing.T) {
	t.Parallel()
	want := "currency,revenue,orders,day,rate,name,at\n" +
		"EUR,99999999999999999999.1250,9223372036854775807,2026-03-01,0.333333,\"a \"\"b\"\", <c>\",2026-03-01T12:00:00Z\n" +
		"JPY,1234.5000,0,,,\"x\ty\n\",2026-03-01T12:00:00Z\n"
	if got := printed(t, sampleGrid(t), "csv"); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestATableRoundsMoneyToItsMinorUnit(t *testing.T) {
	t.Parallel()
	text := printed(t, sampleGrid(t), "table")
	for _, want := range []string{"99999999999999999999.13", " 1235 ", "0.333333", "x·y·"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\ndoes not hold %q", text, want)
		}
	}
}

func TestErrorsSayEveryViolationAndWhatToDo(t *testing.T) {
	t.Parallel()
	st, err := status.New(codes.InvalidArgument, "the pipeline has 2 faults").WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "silver/orders.sql:3", Description: "unknown table bronze.order"},
		{Field: "pipeline.yaml:1", Description: "time_zone is missing"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	explain(&b, newRoot(), fmt.Errorf("send the pipeline: %w", st.Err()))
	want := "Error: send the pipeline: the pipeline has 2 faults\n" +
		"  silver/orders.sql:3: unknown table bronze.order\n  pipeline.yaml:1: time_zone is missing\n"
	if b.String() != want {
		t.Errorf("got %q\nwant %q", b.String(), want)
	}
}

func TestAPlotNeedsADayAndAnAmount(t *testing.T) {
	t.Parallel()
	g := &grid{columns: columns("day", "currency", "revenue:currency")}
	for i := range 20 {
		g.add(client.NewDate(2026, 1, 1+i), "EUR", client.NewDecimal(int64(i*i*100), 2))
	}
	var b bytes.Buffer
	if err := plotByDay(&b, "daily_revenue", g, 0); err != nil || !strings.Contains(b.String(), "revenue by day EUR, 2026-01-01 to 2026-01-20") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if err := plotByDay(&b, "x", &grid{columns: columns("a"), rows: [][]any{{"b"}}}, 0); err == nil {
		t.Error("text was plotted")
	}
}
