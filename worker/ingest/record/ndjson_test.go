package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var jsonABC = Layout{Format: NDJSON, Columns: columns("a", "b", "c")}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want [][]string
	}{
		"scalars":              {`{"a":"x","b":1.0,"c":true}` + "\n" + `{"a":-1e-3,"b":false,"c":null}`, [][]string{{"x", "1", "true"}, {"-1e-3", "false", null}}},
		"CRLF and blank lines": {"\r\n{\"a\":1}\r\n \t\n\n{\"a\":2}\r\n", [][]string{{"1", null, null}, {"2", null, null}}},
		"byte order mark":      {"\xef\xbb\xbf{\"a\":1}", [][]string{{"1", null, null}}},
		"white space":          {" { \"a\" : 1 , \"b\":\t[ ] } \r", [][]string{{"1", "\x01[ ]", null}}},
		"keys folded":          {`{" A ":1,"B":2,"\u0063":3}`, [][]string{{"1", "2", "3"}}},
		"composites":           {`{"a":{"x":[1,{"y":"\""}]},"b":[]}`, [][]string{{"\x01" + `{"x":[1,{"y":"\""}]}`, "\x01[]", null}}},
		"escapes":              {`{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é","b":"\u0000"}`, [][]string{{"\"\\/\b\f\n\r\té😀é", "\x00", null}}},
		"prefixes":             {`{"a":"\u0001[]","b":" \u0003","c":"x\u0003"}`, [][]string{{"\x04\x01[]", "\x04 \x03", "x\x03"}}},
		"unknown members":      {`{"a":1,"x":{"y":1},"é":"\u00e9","z":null,"e":"","n":1.50}`, [][]string{{"1", null, null, `{"x":{"y":1},"é":"\u00e9","n":1.50}`}}},
		"no cells":             {"{}\n{\"a\":null,\"b\":\"\",\"x\":\" \"}\n{\"x\":0}", [][]string{{null, null, null, `{"x":0}`}}},
		"nested repeats":       {`{"a":{"x":1,"x":2}}`, [][]string{{"\x01" + `{"x":1,"x":2}`, null, null}}},
		"numbers at the end":   {`{"a":0}` + "\n" + `{"a":0.5E+10}`, [][]string{{"0", null, null}, {"0.5E+10", null, null}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, rows := readBytes(t, "f.ndjson", []byte(c.text), jsonABC)
			if info.Unreadable != nil {
				t.Fatal(info.Unreadable)
			}
			if diff := cmp.Diff(c.want, shown(rows)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

// malformedObjects are no strict JSON objects.
var malformedObjects = []string{
	`{"a":1`, `{"a":1}}`, `{"a":1} x`, `{"a":1}{"b":2}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{1:1}`,
	`[]`, `[{"a":1}]`, `1`, `"a"`, `null`, `true`, `x`, `{"a":tru}`, `{"a":truex}`, `{"a":nul}`, `{"a":NaN}`, `{"a":Infinity}`,
	`{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":-}`, `{"a":1e}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":--1}`,
	`{"a":"x}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, "{\"a\":\"\t\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", `{"a":"\`,
	`{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`, `{"a":"\ud800x"}`, `{"a":"\udc00\ud800"}`, `{"x":"\ud800"}`, `{"x":["\ud800"]}`, `{"\ud800":1}`,
	"{\"a\":\"\xff\"}", "{\"a\":\"\xc3\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xff\":1}", "\xff",
	`{"a":1,"a":2}`, `{"a":1,"A ":2}`, `{"x":1,"X":2}`, `{"x":1,"\u0078":2}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1}`, `{"a":{"b":1]}`,
	`{"a":{"b"}}`, `{"a":{"b":}}`, `{"a":{,}}`, `{"a":{"b":1,}}`, `{"a":{1:1}}`, `{"a":[}`, `{"a":{`, `{"a":[`, `{"a":[1`, `{"a":[1,`, `{"a":{"b":1,`,
	"{\"a\":1}\x00", "/*x*/{}", `{"a":1}#`, "{\"a\":\u00a01}",
	`{"a":` + strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth) + `}`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000),
}

func TestMalformedObjects(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, line := range malformedObjects {
		text.WriteString(line + "\n" + `{"a":"good"}` + "\n")
	}
	_, rows := readBytes(t, "f.ndjson", []byte(text.String()), jsonABC)
	if len(rows) != 2*len(malformedObjects) {
		t.Fatalf("%d rows of %d lines", len(rows), 2*len(malformedObjects))
	}
	for i, line := range malformedObjects {
		if bad := rows[2*i]; bad.Rule != RuleMalformed || bad.Raw != line {
			t.Errorf("%.60q: %+v", line, bad)
		}
		if good := rows[2*i+1]; good.Rule != null || good.Cells[0] != "good" {
			t.Errorf("after %.60q: %+v", line, good)
		}
	}
}

func TestJSONDepth(t *testing.T) {
	t.Parallel()
	deep := `{"a":` + strings.Repeat(`[`, MaxJSONDepth-1) + strings.Repeat(`]`, MaxJSONDepth-1) + `}`
	_, rows := readBytes(t, "f.ndjson", []byte(deep), jsonABC)
	if len(rows) != 1 || rows[0].Rule != null {
		t.Fatalf("%d levels are refused", MaxJSONDepth)
	}
}

func TestJSONArray(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want [][]string
	}{
		"objects":   {` [ {"a":1} ,` + "\n" + `{"a":"]}\"","b":[{}]}` + "\n]\n", [][]string{{"1", null, null}, {"]}\"", "\x01[{}]", null}}},
		"empty":     {" [ ] ", nil},
		"others":    {`[1,-0.5e3,"x",null,true,[1,[2]],{"a":1}]`, [][]string{{"!malformed", "1"}, {"!malformed", "-0.5e3"}, {"!malformed", `"x"`}, {"!malformed", "null"}, {"!malformed", "true"}, {"!malformed", "[1,[2]]"}, {"1", null, null}}},
		"malformed": {`[{"a":1,"a":2},{"a":"\ud800"},{"a":"` + "\xff" + `"},{},{"a":3}]`, [][]string{{"!malformed", `{"a":1,"a":2}`}, {"!malformed", `{"a":"\ud800"}`}, {"!malformed", "{\"a\":\"\xff\"}"}, {"3", null, null}}},
		"lines":     {"{\"a\":1}\n[1]\n{\"a\":2}", [][]string{{"1", null, null}, {"!malformed", "[1]"}, {"2", null, null}}},
		"deep":      {`[` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `,{"a":1}]`, [][]string{{"!malformed", strings.Repeat("[", 2000) + strings.Repeat("]", 2000)}, {"1", null, null}}},
		"blank":     {" \n ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info, rows := readBytes(t, "f.json", []byte(c.text), jsonABC)
			if info.Unreadable != nil {
				t.Fatal(info.Unreadable)
			}
			if diff := cmp.Diff(c.want, shown(rows)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenJSONArray(t *testing.T) {
	t.Parallel()
	texts := []string{`[`, `[{"a":1}`, `[{"a":1},`, `[{"a":1},]`, `[,{"a":1}]`, `[{"a":1} {"a":2}]`, `[{"a":1}] x`, `[{"a":1}][]`, `[{"a":1}]]`, `[{"a":tru}]`,
		`[{"a":1]`, `[{"a"}]`, `[{a:1}]`, `[01]`, `[1.]`, `[-]`, `[1e]`, `[.5]`, `["\x"]`, `["\u00g0"]`, "[\"\n\"]", `["x]`, `[1`, `[1,2`, `[nul]`, `[}`, `[{"a":1},}`,
		`[` + strings.Repeat("[", maxLexDepth+1), "[1]\x00"}
	for _, line := range malformedObjects {
		if !strings.HasPrefix(line, "{") || strings.HasSuffix(line, "}") {
			continue
		}
		texts = append(texts, "["+line)
	}
	for _, text := range texts {
		info, _ := readBytes(t, "f.json", []byte(text), jsonABC)
		if info.Unreadable == nil {
			t.Errorf("%.60q is read as %d rows", text, info.Rows)
		}
	}
}

func TestJSONLongRecords(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1 << 20, 10 << 20, MaxRecordBytes - 8, MaxRecordBytes - 7, 20 << 20} {
		object := `{"a":"` + strings.Repeat("x", n) + `"}`
		for name, text := range map[string]string{
			"f.ndjson": "{\"a\":0}\n" + object + "\r\n{\"a\":\"last\"}\n",
			"f.json":   "[{\"a\":0},\n" + object + "\n,{\"a\":\"last\"}]",
		} {
			_, rows := readBytes(t, name, []byte(text), jsonABC)
			if len(rows) != 3 || rows[2].Cells[0] != "last" || rows[1].Size != int64(len(object)) || rows[1].Raw != object[:min(len(object), MaxRawBytes)] {
				t.Fatalf("%s with %d bytes: %d rows, size %d", name, len(object), len(rows), rows[1].Size)
			}
			if whole := len(object) <= MaxRecordBytes; whole != (rows[1].Rule == null) {
				t.Fatalf("%s with %d bytes: rule %s", name, len(object), rows[1].Rule)
			}
		}
	}
}

// TestJSONManyKeys has ever new names: what is remembered of them is bounded.
func TestJSONManyKeys(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	key := 0
	for range 12 {
		b.WriteString(`{"a":1`)
		for range 5000 {
			key++
			b.WriteString(`,"` + strings.Repeat("k", key%50) + string(rune('a'+key%26)) + strings.Repeat("é", key/50%100) + `_` + strings.Repeat("0", key/5000) + `":1`)
		}
		b.WriteString("}\n")
	}
	info, _ := readBytes(t, "f.ndjson", []byte(b.String()), jsonABC)
	if info.Rows != 12 || len(info.ExtraColumns) > MaxColumns {
		t.Fatalf("%d rows, %d extra columns", info.Rows, len(info.ExtraColumns))
	}
	long := `{"a":1` + strings.Repeat(`,"x":1`, 3) + "}\n{\"a\":1"
	for i := range MaxColumns {
		long += `,"` + strings.Repeat("y", i%7) + string(rune(0x4e00+i)) + `":1`
	}
	_, rows := readBytes(t, "f.ndjson", []byte(long+"}\n{\"a\":2}\n"), jsonABC)
	if len(rows) != 3 || rows[0].Rule != RuleMalformed || rows[1].Rule != RuleMalformed || rows[2].Cells[0] != "2" {
		t.Fatalf("%d rows: %s %s", len(rows), rows[0].Rule, rows[1].Rule)
	}
}

func TestNumbersLoseAFractionOfZeros(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]string{"12.0": "12", "12.000": "12", "-3.0": "-3", "12.50": "12.50", "12": "12", "1.0e3": "1.0e3", "120": "120", "0.0": "0", "0.10": "0.10"} {
		if got := string(withoutZeroFraction([]byte(number))); got != want {
			t.Errorf("%s is kept as %s, want %s", number, got, want)
		}
	}
}
