package client_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func TestWaitRunGoesOnAfterTheLastChangeSeen(t *testing.T) {
	t.Parallel()
	f := &fake{}
	c, stop := dialFake(f)
	defer stop()
	run, err := c.WaitRun(t.Context(), strings.TrimPrefix(runName, "runs/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if run.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Errorf("state %s", run.GetState())
	}
	if diff := cmp.Diff([]uint64{0, 7}, f.watches); diff != "" {
		t.Errorf("after_sequence of the watches (-want +got):\n%s", diff)
	}
}

func TestWaitRunStopsWithItsContext(t *testing.T) {
	t.Parallel()
	c, stop := dialFake(&fake{})
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.WaitRun(ctx, runName, func(client.Update) { cancel() })
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
}

func TestSubmitTriesAgainWithTheSameRequestID(t *testing.T) {
	t.Parallel()
	f := &fake{unready: 2}
	c, stop := dialFake(f, client.WithToken("secret"))
	defer stop()
	if _, err := c.Submit(t.Context(), "daily", client.SubmitOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 3 || f.requests[0] == "" || f.requests[0] != f.requests[1] || f.requests[1] != f.requests[2] {
		t.Errorf("request ids %q: three tries of one request were expected", f.requests)
	}
	if f.token != "Bearer secret" {
		t.Errorf("token %q", f.token)
	}
}

func TestDecodeTakesEveryType(t *testing.T) {
	t.Parallel()
	type row struct {
		Name    string
		Count   int32
		Big     uint64
		Amount  client.Decimal
		Ratio   float32
		Known   bool
		Day     client.Date
		AsTime  time.Time `shoplake:"day"`
		At      *time.Time
		Raw     []byte
		Extra   json.RawMessage
		Tags    []string `shoplake:"extra"`
		Missing *client.Decimal
		Any     any `shoplake:"amount"`
		Private int `shoplake:"-"`
	}
	columns := []*shoplakev1.Column{
		{Name: "name", Type: shoplakev1.ColumnType_COLUMN_TYPE_STRING},
		{Name: "count", Type: shoplakev1.ColumnType_COLUMN_TYPE_INT64},
		{Name: "big", Type: shoplakev1.ColumnType_COLUMN_TYPE_INT64},
		{Name: "amount", Type: shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL},
		{Name: "ratio", Type: shoplakev1.ColumnType_COLUMN_TYPE_DOUBLE},
		{Name: "known", Type: shoplakev1.ColumnType_COLUMN_TYPE_BOOL},
		{Name: "day", Type: shoplakev1.ColumnType_COLUMN_TYPE_DATE},
		{Name: "at", Type: shoplakev1.ColumnType_COLUMN_TYPE_TIMESTAMP},
		{Name: "raw", Type: shoplakev1.ColumnType_COLUMN_TYPE_BYTES},
		{Name: "extra", Type: shoplakev1.ColumnType_COLUMN_TYPE_JSON},
		{Name: "missing", Type: shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL},
		{Name: "unread", Type: shoplakev1.ColumnType_COLUMN_TYPE_STRING},
	}
	s, err := structpb.NewStruct(map[string]any{
		"name": "Zürich", "count": "-7", "big": "9223372036854775807", "amount": "99999999999999.9999", "ratio": 0.5, "known": true,
		"day": "2026-03-31", "at": "2026-03-31T23:59:59.999999Z", "raw": "AP8=", "extra": `["a","b"]`, "missing": nil, "unread": "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Decode[row](client.NewRows(&shoplakev1.RowSet{Columns: columns, Rows: []*structpb.Struct{s}}))
	if err != nil {
		t.Fatal(err)
	}
	amount, err := client.ParseDecimal("99999999999999.9999")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 31, 23, 59, 59, 999999000, time.UTC)
	want := []row{{
		Name: "Zürich", Count: -7, Big: 9223372036854775807, Amount: amount, Ratio: 0.5, Known: true,
		Day: client.NewDate(2026, 3, 31), AsTime: time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC), At: &at,
		Raw: []byte{0, 255}, Extra: json.RawMessage(`["a","b"]`), Tags: []string{"a", "b"}, Any: amount,
	}}
	same := cmp.Comparer(func(a, b client.Decimal) bool { return a.String() == b.String() })
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeRefusesWhatWouldLose(t *testing.T) {
	t.Parallel()
	set := func(typ shoplakev1.ColumnType, v any) *client.Rows {
		s, err := structpb.NewStruct(map[string]any{"x": v})
		if err != nil {
			t.Fatal(err)
		}
		return client.NewRows(&shoplakev1.RowSet{Columns: []*shoplakev1.Column{{Name: "x", Type: typ}}, Rows: []*structpb.Struct{s}})
	}
	_, null := client.Decode[struct{ X int64 }](set(shoplakev1.ColumnType_COLUMN_TYPE_INT64, nil))
	_, overflow := client.Decode[struct{ X int8 }](set(shoplakev1.ColumnType_COLUMN_TYPE_INT64, "200"))
	_, fraction := client.Decode[struct{ X int64 }](set(shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, "1.5"))
	_, unknown := client.Decode[struct{ Y int64 }](set(shoplakev1.ColumnType_COLUMN_TYPE_INT64, "1"))
	for want, err := range map[string]error{
		"row 1, column x, field X: it is null: use *int64": null,
		"200 does not fit into a int8":                     overflow,
		"a client.Decimal does not fit into a int64":       fraction,
		`field Y wants column "y"; the columns are x`:      unknown,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

func TestDecimalIsExact(t *testing.T) {
	t.Parallel()
	parse := func(s string) client.Decimal {
		d, err := client.ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a := parse("12345678901234567890.1234")
	for name, c := range map[string]struct{ got, want string }{
		"zero value":  {client.Decimal{}.String(), "0"},
		"digits stay": {parse("1.5000").String(), "1.5000"},
		"add":         {a.Add(parse("0.0006")).String(), "12345678901234567890.1240"},
		"subtract":    {a.Sub(a).String(), "0.0000"},
		"multiply":    {a.Mul(parse("3.0001")).String(), "37038271271593827127.15921234"},
		"half up":     {parse("0.125").Round(2).String(), "0.13"},
		"half down":   {parse("-0.125").Round(2).String(), "-0.13"},
		"big places":  {client.NewDecimal(1234, 2).Round(4).String(), "12.3400"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", name, c.got, c.want)
		}
	}
	if _, err := client.ParseDecimal("NaN"); err == nil {
		t.Error("NaN was taken for a number")
	}
}
