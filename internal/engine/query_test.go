package engine

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
)

const everyType = `select true as b, 1::tinyint as i1, -2::smallint as i2, 3::integer as i4, 4::bigint as i8, 255::utinyint as u1,
	4294967295::uinteger as u4, 18446744073709551615::ubigint as u8, 170141183460469231731687303715884105::hugeint as h, 1.5::float as f, 0.1::double as d,
	-12.3400::decimal(18,4) as m, 0.00::decimal(38,2) as z, 'ü' as s, '\x00\xff'::blob as x, date '2026-02-28' as day,
	timestamp '2026-01-01 00:00:00.000001' as ts, timestamptz '2026-01-01 01:00:00+01' as tz, ['a', null] as l, [1.5::decimal(4,1)] as lm, null::varchar as n`

func TestQueryGivesExactValues(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	rows, err := session.Query(t.Context(), everyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, c := range rows.Columns() {
		types = append(types, c.Name+" "+c.Type)
	}
	const want = "b BOOLEAN,i1 INTEGER,i2 INTEGER,i4 INTEGER,i8 BIGINT,u1 INTEGER,u4 BIGINT,u8 DECIMAL(20,0),h DECIMAL(38,0),f DOUBLE,d DOUBLE," +
		"m DECIMAL(18,4),z DECIMAL(38,2),s VARCHAR,x BLOB,day DATE,ts TIMESTAMP,tz TIMESTAMP WITH TIME ZONE,l VARCHAR[],lm DECIMAL(4,1)[],n VARCHAR"
	if got := strings.Join(types, ","); got != want {
		t.Errorf("columns\n%s, want\n%s", got, want)
	}
	if scale := rows.Columns()[11].Scale; scale != 4 {
		t.Errorf("scale %d, want 4", scale)
	}
	all, err := rows.All()
	if err != nil {
		t.Fatal(err)
	}
	dec := func(text string) Decimal {
		d, err := ParseDecimal(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	wantValues := []any{true, int64(1), int64(-2), int64(3), int64(4), int64(255), int64(4294967295), dec("18446744073709551615"),
		dec("170141183460469231731687303715884105"), 1.5, 0.1, dec("-12.3400"), dec("0.00"), "ü", []byte{0, 0xff},
		time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), []any{"a", nil}, []any{dec("1.5")}, nil}
	equal := cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
	if diff := cmp.Diff([][]any{wantValues}, all, equal); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestQueryReadsOtherTypesAsText(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	wantRows(t, session, `select '{"a": 12345678901234567890.123}'::json as a, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid as a, {'x': 1} as s,
		interval 1 day as i, map {'k': 1.5} as m, time '01:02:03' as t, 'b'::enum('a', 'b') as e, [{'x': 1}] as ls order by 1 -- end`, nil,
		`{"a": 12345678901234567890.123}|6ba7b810-9dad-11d1-80b4-00c04fd430c8|{"x":1}|1 day|{"k":1.5}|01:02:03|b|[{"x":1}]`)
	if _, err := session.Query(t.Context(), "select 1; select 2", nil); err == nil {
		t.Error("two statements ran as one query")
	}
}

func TestQueryTakesParameters(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	money, err := ParseDecimal("-99999999999999999999.1234")
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]any{
		"day": Date(time.Date(2026, 5, 1, 23, 0, 0, 0, time.FixedZone("", 3600))), "none": Typed{Type: "DATE"}, "n": 7, "f": 0.5, "yes": true,
		"text": "it's $n; --", "raw": []byte{1, 0}, "money": money, "at": time.Date(2026, 1, 1, 1, 0, 0, 123456000, time.FixedZone("", 3600)),
		"unused": 1, "nil": nil, "names": []string{"a", "b'"},
	}
	wantRows(t, session, `select $day, typeof($day), date_trunc('month', $none), typeof($none), $n + 1, $f, $yes, $text, octet_length($raw), $money, typeof($money), $at,
		'$n', "$n" from (select 1 as "$n") -- $missing`, params,
		"2026-05-01T00:00:00Z|DATE|<nil>|DATE|8|0.5|true|it's $n; --|2|-99999999999999999999.1234|DECIMAL(38,4)|2026-01-01T00:00:00.123456Z|$n|1")
	wantRows(t, session, "select count(*) from range(10) r(i) where ($none is null or i > 5) and i < $n and $nil is null and 'b''' in (select unnest($names))", params, "7")
	_, err = session.Query(t.Context(), "select $missing", params)
	if err == nil || !strings.Contains(err.Error(), "$missing") {
		t.Errorf("want an error that names $missing, got %v", err)
	}
	if _, err := session.Query(t.Context(), "select $x", map[string]any{"x": Typed{Type: "DATE); drop table x"}}); err == nil {
		t.Error("a type carried SQL")
	}
}

func TestDecimalText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "-1", "12.3400", "-0.0001", "0.00", "99999999999999999999999999999999.999999"} {
		d, err := ParseDecimal(text)
		if err != nil || d.String() != text {
			t.Errorf("%s became %v, %v", text, d, err)
		}
		if data, err := json.Marshal(d); err != nil || string(data) != text {
			t.Errorf("%s became %s, %v", text, data, err)
		}
	}
	for _, text := range []string{"", "-", ".", "1e3", "1,000", "+-1", "0x1", "1.2.3", " 1"} {
		if d, err := ParseDecimal(text); err == nil {
			t.Errorf("%q became %v", text, d)
		}
	}
}

func TestQueryArrow(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	stream, err := session.QueryArrow(t.Context(), everyType+" order by 1; -- all", nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	var got []string
	for reader.Next() {
		batch := reader.RecordBatch()
		for i, column := range batch.Columns() {
			got = append(got, batch.Schema().Field(i).Type.String()+" "+column.ValueStr(0))
		}
	}
	want := []string{"bool true", "int32 1", "int32 -2", "int32 3", "int64 4", "int32 255", "int64 4294967295", "decimal(20, 0) 18446744073709551615",
		"decimal(38, 0) 170141183460469231731687303715884105", "float64 1.5", "float64 0.1", "decimal(18, 4) -12.34", "decimal(38, 2) 0", "utf8 ü",
		"binary AP8=", "date32 2026-02-28", "timestamp[us] 2026-01-01T00:00:00.000001", "timestamp[us, tz=UTC] 2026-01-01T00:00:00Z",
		`list<item: utf8, nullable> ["a",null]`, `list<item: decimal(4, 1), nullable> ["1.5"]`, "utf8 (null)"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestQueryArrowBoundsRows(t *testing.T) {
	t.Parallel()
	session := open1(t, Options{})
	const sql = "select i, (i * 0.5)::decimal(18,4) as m from range($n) r(i) order by i desc"
	const n = 2*arrowBatch + 5
	stream, err := session.QueryArrow(t.Context(), sql, map[string]any{"n": n}, n)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	next := int64(n)
	for reader.Next() {
		for _, i := range reader.RecordBatch().Column(0).(*array.Int64).Int64Values() {
			if next--; i != next {
				t.Fatalf("row %d where %d is due", i, next)
			}
		}
	}
	if next != 0 {
		t.Errorf("%d rows are missing", next)
	}
	_, err = session.QueryArrow(t.Context(), sql, map[string]any{"n": n}, n-1)
	if err == nil || !strings.Contains(err.Error(), "too many rows") {
		t.Errorf("want ErrTooManyRows, got %v", err)
	}
	if _, err := session.QueryArrow(t.Context(), "select 1 as a where false", nil, 10); err != nil {
		t.Errorf("an empty result: %v", err)
	}
}
