package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoplake/shoplake/internal/pipeline"
)

var described = map[string][]Column{
	"silver.orders": {
		{Name: "order_id", Type: "VARCHAR"}, {Name: "line_number", Type: "BIGINT"}, {Name: "order_date", Type: "DATE"},
		{Name: "order_time", Type: "TIMESTAMP WITH TIME ZONE"}, {Name: "unit_price", Type: "DECIMAL(18,4)"}, {Name: "quantity", Type: "BIGINT"},
	},
	"silver.events": {{Name: "event_id", Type: "VARCHAR"}, {Name: "properties", Type: "VARCHAR"}, {Name: "tags", Type: "VARCHAR[]"}},
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	params := map[string]string{"from": "DATE", "limit": "INTEGER", "name": "VARCHAR"}
	for sql, want := range map[string]string{
		"-- all\nselect * from silver.orders;": "order_id VARCHAR, line_number BIGINT, order_date DATE, order_time TIMESTAMP WITH TIME ZONE, unit_price DECIMAL(18,4), quantity BIGINT",
		"select order_date as day, sum(unit_price * quantity) as revenue, count(*) as n, sum(quantity) as units, avg(quantity) as mean from silver.orders group by all":                                                   "day DATE, revenue DECIMAL(38,4), n BIGINT, units DECIMAL(38,0), mean DOUBLE",
		"select business_day(order_time) as d, shop_currency() as c, quotient(sum(unit_price), count(*)) as q, div_exact(1, 3, 2) as x from silver.orders group by order_time":                                            "d DATE, c VARCHAR, q DECIMAL(38,6), x DECIMAL(38,8)",
		"select $from as f, $limit as l, $name as n, date_trunc('month', $from) as m, coalesce($from, order_date) as c, year(order_date) as y from silver.orders where order_date >= $from limit $limit":                  "f DATE, l INTEGER, n VARCHAR, m TIMESTAMP, c DATE, y BIGINT",
		"select properties::json ->> 'a' as a, properties::json -> 'a' as j, tags, 1::tinyint as t, 1::ubigint as u, 1::float as f, uuid_extract_version('6ba7b810-9dad-11d1-80b4-00c04fd430c8') as v from silver.events": "a VARCHAR, j VARCHAR, tags VARCHAR[], t INTEGER, u DECIMAL(20,0), f DOUBLE, v BIGINT",
		"select {'a': 1} as s": "s STRUCT(a INTEGER)",
		"with o as (select * from silver.orders) select o.order_id, e.event_id from o join silver.events e on o.order_id = e.event_id": "order_id VARCHAR, event_id VARCHAR",
	} {
		columns, err := Describe(t.Context(), sql, described, params)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		var got []string
		for _, c := range columns {
			got = append(got, c.Name+" "+c.Type)
		}
		if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sql, diff)
		}
	}
}

func TestDescribePlacesFaults(t *testing.T) {
	t.Parallel()
	params := map[string]string{"from": "DATE"}
	for sql, want := range map[string]string{
		"select nope from silver.orders":                                               "1:8 nope",
		"select 'é',\n  $from, $from, nope from silver.orders where $from is not null": "2:17 nope",
		"select *\nfrom silver.nope":                                                   "2:6 there is no table silver.nope",
		"select order_id + 1 from silver.orders":                                       "1:17 ",
		"select order_id\nfrom silver.orders\nwhere $to > order_date":                  "3:7 $to is not declared",
		"select order_id, count(*) from silver.orders":                                 "1:8 GROUP BY",
		"select business_day(1, 2)":                                                    "1:8 business_day",
		"select 1 union select 1, 2":                                                   "0:0 ",
		"select order_id from silver.orders where":                                     "1:41 ",
		"select o.x from silver.orders o":                                              "1:8 x",
		"select getenv('HOME')":                                                        "1:8 getenv",
		"select cast('x' as nothing)":                                                  "1:20 nothing",
	} {
		columns, err := Describe(t.Context(), sql, described, params)
		var fault *SyntaxError
		if !errors.As(err, &fault) {
			t.Errorf("%q: want a *SyntaxError, got %v %v", sql, columns, err)
			continue
		}
		place, word, _ := strings.Cut(want, " ")
		if got := fmt.Sprintf("%d:%d", fault.Line, fault.Column); got != place || !strings.Contains(fault.Message, word) {
			t.Errorf("%q: %s %q, want %s", sql, got, fault.Message, want)
		}
	}
}

// TestDescribeRunsNothing also shows that one statement's tables are gone for the next.
func TestDescribeRunsNothing(t *testing.T) {
	t.Parallel()
	if _, err := Describe(t.Context(), "select error('it ran') as e, count(*) as n from range(100000000000) a, range(1000) b", nil, nil); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			column := fmt.Sprintf("c%d", i)
			columns, err := Describe(t.Context(), "select * from gold.t", map[string][]Column{"gold.t": {{Name: column, Type: "DATE"}}}, nil)
			if err != nil || len(columns) != 1 || columns[0].Name != column {
				t.Errorf("%v %v", columns, err)
			}
		})
	}
	wg.Wait()
}

func TestBinderSpeaksToPipelines(t *testing.T) {
	t.Parallel()
	binder, err := NewBinder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := binder.Parse(t.Context(), "select $x\nfrom silver.orders, gold.t")
	if err != nil {
		t.Fatal(err)
	}
	want := &pipeline.ParsedSQL{Tables: []pipeline.TableRef{{Table: "silver.orders", Line: 2, Column: 6}, {Table: "gold.t", Line: 2, Column: 21}}, Params: []string{"x"}}
	if diff := cmp.Diff(want, parsed); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	tables := map[string][]pipeline.Column{"gold.t": {{Name: "a", Type: pipeline.TypeDate, Required: true}}}
	columns, err := binder.Describe(t.Context(), "select a, $x as x from gold.t", tables, map[string]string{"x": pipeline.TypeVarchar})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]pipeline.Column{{Name: "a", Type: "DATE"}, {Name: "x", Type: "VARCHAR"}}, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	_, err = binder.Describe(t.Context(), "select b from gold.t", tables, nil)
	var fault *pipeline.SQLError
	if !errors.As(err, &fault) || fault.Line != 1 || fault.Column != 8 {
		t.Errorf("want a *pipeline.SQLError, got %v", err)
	}
	if _, err = binder.Parse(t.Context(), "drop table x"); !errors.As(err, &fault) {
		t.Errorf("want a *pipeline.SQLError, got %v", err)
	}
}
