package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNamesTablesAndParameters(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, sql      string
		tables, params []string
	}{
		{"one table", "select * from silver.orders", []string{"silver.orders"}, nil},
		{"upper case and quotes", `SELECT * FROM "Silver"."ORDERS"`, []string{"silver.orders"}, nil},
		{"comments and a semicolon", "-- from a.b\nselect 1 /* from a.b */ from gold.dim_date; -- end", []string{"gold.dim_date"}, nil},
		{"characters of several bytes", "select 'é€😀' from silver.orders", []string{"silver.orders"}, nil},
		{"expression named like a table", "with orders as (select * from silver.orders) select * from orders", []string{"silver.orders"}, nil},
		{"expression named like a file", `with "a.parquet" as (select 1) select * from "a.parquet"`, nil, nil},
		{"recursive expression", "with recursive n as (select 1 i union all select i + 1 from n where i < 9) select * from n", nil, nil},
		{"expressions see those before", "with a as (select 1 x), b as (select x from a) select * from a, b", nil, nil},
		{"every clause", `with w as (select 1 from a.t1)
			select (select max(x) from a.t2), exists (select 1 from a.t3) from a.t4
			join a.t5 on t4.x in (select x from a.t6), lateral (select * from a.t7) l
			where x = any (select x from a.t8) group by (select 1 from a.t9) having sum(x) > (select 1 from b.t1)
			qualify row_number() over (partition by (select 1 from b.t2) order by x) = 1
			union all select * from b.t3 order by (select 1 from b.t4) limit (select 1 from b.t5) offset (select 1 from b.t6)`,
			strings.Fields("a.t1 a.t2 a.t3 a.t4 a.t5 a.t6 a.t7 a.t8 a.t9 b.t1 b.t2 b.t3 b.t4 b.t5 b.t6"), nil},
		{"pivot", "select * from (pivot silver.x on y in (1, 2) using sum(z))", []string{"silver.x"}, nil},
		{"safe table functions", "select * from range(3), generate_series(1, $n), unnest([1, 2])", nil, []string{"n"}},
		{"parameters in order, each once", "select $to, $from, $to, '$no', \"$no\" -- $no\n, $$ $no $$, $x$ $no $x$, e'\\'$no', a$no, /* $no /* $no */ $no */ $last from a.b",
			[]string{"a.b"}, []string{"to", "from", "last"}},
		{"files named in text only", "select 'from ''x.csv''' from a.b", []string{"a.b"}, nil},
		{"functions of every kind", `select business_day(ts), quotient(sum(a), count(*)), list_transform(l, lambda x: x + 1), x ->> 'a', [i for i in l if i > 1],
			cast(a as decimal(18,4)), {'a': 1}, l[1:2], a not ilike 'b%', coalesce(a, b), extract(year from d), d at time zone 'UTC',
			lag(a) over (order by b), string_agg(a, ',' order by b) filter (where c), nullif(a, b), interval 1 day, a between 1 and 2,
			count(distinct a), if(a, 1, 2), try_cast(a as int), columns('a.*'), * exclude (a), unnest(l), -a, a::date, (a, b) in (select 1, 2)
			from a.b group by grouping sets ((a), (b))`, []string{"a.b"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			statement, err := Parse(t.Context(), c.sql)
			if err != nil {
				t.Fatal(err)
			}
			var tables []string
			for _, ref := range statement.Tables {
				tables = append(tables, ref.Table())
				if written := strings.ReplaceAll(c.sql[ref.Position:], `"`, ""); !strings.HasPrefix(strings.ToLower(written), ref.Table()) {
					t.Errorf("%s does not stand at byte %d", ref.Table(), ref.Position)
				}
			}
			if diff := cmp.Diff(c.tables, tables); diff != "" {
				t.Errorf("tables (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.params, statement.Params); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
		})
	}
}

// attacks are statements that must not get through Parse, with a word of the answer. Those that locked lists run on a
// locked session, where they must fail too (see TestLockedSessionHolds).
var attacks = []struct {
	sql, message string
	locked       bool
}{
	{"select * from read_text('/etc/passwd')", "table function read_text", true},
	{"select * from read_csv('/etc/passwd')", "table function read_csv", true},
	{"select * from read_parquet('/etc/passwd')", "table function", true},
	{"select * from read_json('/etc/passwd')", "table function", true},
	{"select * from read_blob('/etc/*')", "table function", true},
	{"select * from glob('/etc/*')", "table function glob", true},
	{"select * from sniff_csv('/etc/passwd')", "table function", true},
	{"select * from parquet_metadata('/etc/passwd')", "table function", true},
	{"from '/etc/passwd.csv'", "not a table", true},
	{"select * from '/etc/passwd.csv'", "not a table", true},
	{`select * from "/etc/passwd.csv"`, "not a table", true},
	{`select * from silver."/etc/passwd.csv"`, "not a table", true},
	{"select * from 'silver.orders'", "not a table", true},
	{`select (select a from "/etc/x.parquet")`, "not a table", true},
	{`select 1 order by (select a from "/etc/x.parquet")`, "not a table", true},
	{`select 1 limit (select a from "/etc/x.parquet")`, "not a table", true},
	{`select * from range(1), lateral (select * from '/etc/x.csv')`, "not a table", true},
	{`select * from range(1) where exists (from '/etc/x.csv')`, "not a table", true},
	{`select row_number() over (order by (select 1 from '/etc/x.csv'))`, "not a table", true},
	{`select * from (values ((select 1 from '/etc/x.csv')))`, "not a table", true},
	{`select list_transform([1], lambda x: (select x from '/etc/x.csv'))`, "not a table", true},
	{`with x as (select * from '/etc/x.csv') select * from x`, "not a table", true},
	{`select * from (with "x.csv" as (select 1) select * from "x.csv"), "x.csv"`, "not a table", true},
	{`with a as (select * from "/etc/b.csv"), "/etc/b.csv" as (select 1) select * from a`, "not a table", true},
	{`select case when true then (select 1 from '/etc/x.csv') end`, "not a table", true},
	{`select * from range((select count(*) from '/etc/x.csv'))`, "not a table", true},
	{`select sum(1) filter (where (select true from '/etc/x.csv'))`, "not a table", true},
	{`select * from (pivot '/etc/x.csv' on a in (1) using count(*))`, "not a table", true},
	{`select * from (unpivot '/etc/x.csv' on a)`, "not a table", true},
	{`(select 1) union (select 1 from '/etc/x.csv')`, "not a table", true},
	{"select * from information_schema.tables", "cannot be read", false},
	{"select * from pg_catalog.pg_class", "cannot be read", false},
	{"select * from main.duckdb_tables", "cannot be read", false},
	{"select * from duckdb_settings()", "table function", false},
	{"select * from duckdb_tables", "not a table", false},
	{"select * from memory.silver.orders", "not a table", true},
	{"select * from query('select 1')", "table function query", false},
	{"select * from query_table('duckdb_settings')", "table function", true},
	{"select * from json_execute_serialized_sql('{}')", "table function", true},
	{"select * from pragma_version()", "table function", false},
	{"select * from main.range(3)", "table function", false},
	{"select getenv('HOME')", "function getenv", true},
	{"select getvariable('x')", "function getvariable", false},
	{"select current_setting('temp_directory')", "function current_setting", false},
	{"select json_serialize_sql('select 1')", "function", false},
	{"select sleep_ms(10)", "function sleep_ms", false},
	{"select pg_sleep(1)", "function pg_sleep", false},
	{"select nextval('s')", "function nextval", true},
	{"select write_log('x')", "function write_log", false},
	{"select random()", "function random", false},
	{"select uuid()", "function uuid", false},
	{"select ('x').getenv()", "function getenv", true},
	{"select main.current_setting('threads')", "function", false},
	{"select pg_catalog.current_setting('threads')", "function", false},
	{"select no_such(1)", "function no_such", true},
	{"select sum(x) over (partition by getenv('HOME')) from a.b", "function getenv", true},
	{"copy (select 1) to '/tmp/shoplake-attack.csv'", "only a SELECT", true},
	{"copy silver.orders from '/etc/passwd'", "only a SELECT", true},
	{"attach '/tmp/shoplake-attack.db'", "only a SELECT", true},
	{"set threads = 1", "only a SELECT", true},
	{"set memory_limit = '100GB'", "only a SELECT", true},
	{"set enable_external_access = true", "only a SELECT", true},
	{"reset lock_configuration", "only a SELECT", true},
	{"install httpfs", "only a SELECT", true},
	{"load httpfs", "only a SELECT", true},
	{"load '/tmp/x.duckdb_extension'", "only a SELECT", true},
	{"pragma threads = 1", "only a SELECT", true},
	{"pragma database_list", "", false},
	{"call pragma_version()", "only a SELECT", false},
	{"export database '/tmp/shoplake-attack'", "only a SELECT", true},
	{"import database '/tmp/shoplake-attack'", "only a SELECT", true},
	{"create table x as select 1", "only a SELECT", false},
	{"create secret s (type s3)", "only a SELECT", true},
	{"drop table silver.orders", "only a SELECT", true},
	{"delete from silver.orders", "only a SELECT", true},
	{"insert into silver.orders select 1", "only a SELECT", true},
	{"prepare p as select 1", "only a SELECT", false},
	{"execute p", "only a SELECT", true},
	{"explain select 1", "", false},
	{"describe select 1", "only tables", false},
	{"summarize silver.orders", "only tables", true},
	{"show tables", "only tables", false},
	{"select * from (show tables)", "only tables", false},
	{"select * from (describe silver.orders)", "only tables", true},
	{"vacuum", "only a SELECT", false},
	{"checkpoint", "only a SELECT", false},
	{"begin", "only a SELECT", false},
	{"select 1; select 2", "2 statements", false},
	{"select 1; drop table silver.orders", "only a SELECT", true},
	{"select 1 /* ; */; copy (select 1) to '/tmp/shoplake-attack.csv'", "only a SELECT", true},
	{"", "no statement", false},
	{";", "no statement", false},
	{"-- nothing", "no statement", false},
	{"select ?", "needs a name", true},
	{"select $1", "needs a name", true},
	{"select from where", "syntax error", true},
	{"select 'open", "unterminated", true},
	{"select 1 from silver.orders at (version => 1)", "AT cannot", true},
	{"select 1\x00; drop table silver.orders", "zero byte", true},
	{"select 1e700", "too large", false},
	{"select '\xff'", "UTF-8", true},
	{"select " + strings.Repeat("(", 20000) + "1" + strings.Repeat(")", 20000), "", false},
	{"select " + strings.Repeat("-", 20000) + "1", "", false},
	{"select " + strings.Repeat("- ", 20000) + "1", "", true},
	{"select '" + strings.Repeat("a", maxStatement) + "'", "bytes", false},
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, attack := range attacks {
		t.Run(shorten(attack.sql), func(t *testing.T) {
			t.Parallel()
			statement, err := Parse(t.Context(), attack.sql)
			var fault *SyntaxError
			if !errors.As(err, &fault) {
				t.Fatalf("want a *SyntaxError, got %+v, %v", statement, err)
			}
			if !strings.Contains(fault.Message, attack.message) {
				t.Errorf("message %q does not hold %q", fault.Message, attack.message)
			}
		})
	}
}

func TestParsePlacesTables(t *testing.T) {
	t.Parallel()
	statement, err := Parse(t.Context(), "-- from a.b\nselect 'é€😀',\n  x from c.d, \"E\".f")
	if err != nil {
		t.Fatal(err)
	}
	want := []TableRef{{Schema: "c", Name: "d", Position: 41, Line: 3, Column: 10}, {Schema: "e", Name: "f", Position: 46, Line: 3, Column: 15}}
	if diff := cmp.Diff(want, statement.Tables); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func TestParsePlacesFaults(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"select 'é',\n  getenv('HOME')":      "2:3",
		"select a,\n  b c d from a.b":        "2:7",
		"-- é\n\n  drop table x":             "3:3",
		"select 1\nfrom a.b,\n\t'x.csv'":     "3:2",
		"select 'ü', (select $1)":            "1:21",
		"select getenv(1), read_text(2)\n,x": "1:8",
	} {
		_, err := Parse(t.Context(), sql)
		var fault *SyntaxError
		if !errors.As(err, &fault) {
			t.Errorf("%q: want a *SyntaxError, got %v", sql, err)
			continue
		}
		if got := fmt.Sprintf("%d:%d", fault.Line, fault.Column); got != want {
			t.Errorf("%q: %s at %s, want %s", sql, fault.Message, got, want)
		}
	}
}

// TestFunctionsWereReviewed fails when a new version of DuckDB brings functions that nobody looked at.
func TestFunctionsWereReviewed(t *testing.T) {
	t.Parallel()
	refused, err := os.ReadFile("testdata/refused_functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	looked := words(string(refused))
	for name := range looked {
		if allowedFunctions()[name] {
			t.Errorf("%s is both allowed and refused", name)
		}
	}
	session := open1(t, Options{})
	rows, err := session.Query(t.Context(), `select distinct lower(function_name) from duckdb_functions()
		where function_type in ('scalar', 'aggregate', 'macro') and not starts_with(function_name, '_')
		and not starts_with(function_name, 'icu_collate')`, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := rows.All()
	if err != nil {
		t.Fatal(err)
	}
	catalog := map[string]bool{}
	for _, row := range all {
		name := row[0].(string)
		catalog[name] = true
		if !allowedFunctions()[name] && !looked[name] {
			t.Errorf("%s is new: allow it in functions.txt or refuse it in testdata/refused_functions.txt", name)
		}
	}
	for name := range allowedFunctions() {
		if !catalog[name] && name != "unnest" && name != "grouping_id" && name != "!__postfix" {
			t.Errorf("%s is allowed but does not exist", name)
		}
	}
}

func TestParseStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Parse(ctx, "select 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, attack := range attacks {
		if len(attack.sql) < 1000 {
			f.Add(attack.sql)
		}
	}
	f.Add("with a as (select $x from b.c) select *, {'a': [1, 2]} from a pivot (sum(x) for y in (1)) where x = 'é' -- $x")
	f.Fuzz(func(t *testing.T, sql string) {
		statement, err := Parse(t.Context(), sql)
		if err != nil {
			var fault *SyntaxError
			if !errors.As(err, &fault) {
				t.Fatalf("%q: %v is not a *SyntaxError", sql, err)
			}
			return
		}
		for _, ref := range statement.Tables {
			if !strings.HasPrefix(strings.ToLower(strings.ReplaceAll(sql[ref.Position:], `"`, "")), ref.Schema) {
				t.Errorf("%q: %s does not stand at byte %d", sql, ref.Table(), ref.Position)
			}
		}
		// What passed must stand in parentheses, as the engine runs it, and name the same there.
		again, err := Parse(t.Context(), "select * from "+Subquery(sql))
		if err != nil {
			t.Fatalf("%q: in parentheses: %v", sql, err)
		}
		if len(again.Tables) != len(statement.Tables) || !cmp.Equal(again.Params, statement.Params) {
			t.Errorf("%q: in parentheses %v %v, alone %v %v", sql, again.Tables, again.Params, statement.Tables, statement.Params)
		}
	})
}

func shorten(sql string) string { return sql[:min(len(sql), 60)] }

// open1 opens a session for one test.
func open1(t testing.TB, o Options) *Session {
	t.Helper()
	session, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}
