package pipeline

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStorable(t *testing.T) {
	t.Parallel()
	for kind, advice := range map[string]string{
		"VARCHAR": "", "DECIMAL(38,6)": "", "TIMESTAMP WITH TIME ZONE": "", "VARCHAR[]": "",
		"HUGEINT": "cast it to BIGINT or to DECIMAL(38,0)", "SMALLINT": "cast it to INTEGER", "FLOAT": "cast it to DOUBLE",
		"INTERVAL": "cast it to VARCHAR", `"NULL"`: "every value is NULL",
		"STRUCT(a INTEGER)": "cast it to VARCHAR, BIGINT",
	} {
		if got := storable(kind); (got == "") != (advice == "") || !strings.HasPrefix(got, advice) {
			t.Errorf("%s: %q, want %q", kind, got, advice)
		}
	}
}

func TestNormalizeSQL(t *testing.T) {
	t.Parallel()
	same := [][]string{
		{"SELECT 1", " SELECT\n\t1 ;\n", "SELECT -- one\n1", "SELECT /* a /* nested */ b */ 1"},
		{"SELECT a, 'x  y' FROM t", "SELECT a, 'x  y'\nFROM t -- it's\n"},
		{"SELECT 'a'\n'b'", "SELECT 'a' -- joined\n 'b'"},
		{"SELECT e'it\\'s --' , 1", "SELECT  e'it\\'s --'  , 1"},
		{"SELECT $q$ -- no comment $q$", "SELECT\n$q$ -- no comment $q$"},
	}
	var forms []string
	for _, group := range same {
		form := normalizeSQL(group[0])
		for _, sql := range group[1:] {
			if got := normalizeSQL(sql); got != form {
				t.Errorf("%q gives %q, %q gives %q", group[0], form, sql, got)
			}
		}
		forms = append(forms, form)
	}
	forms = append(forms, normalizeSQL("SELECT 'a' 'b'"), normalizeSQL("SELECT a, 'x y' FROM t"), normalizeSQL("SELECT $q$ --no comment $q$"), normalizeSQL(`SELECT "1"`))
	for i := range forms {
		for j := range i {
			if forms[i] == forms[j] {
				t.Errorf("%q stands for two texts", forms[i])
			}
		}
	}
}

// Tokens are the text, piece by piece, and normalizing twice is normalizing once.
func TestTokensKeepTheText(t *testing.T) {
	t.Parallel()
	piece := rapid.SampledFrom([]string{"'", "''", `"`, "--", "\n", " ", "/*", "*/", "$", "$a$", "e", "E'", `\`, "select", "1", ";", "ä", "\x00"})
	rapid.Check(t, func(t *rapid.T) {
		sql := strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")
		var all strings.Builder
		for _, token := range sqlTokens(sql) {
			if token.text == "" {
				t.Fatal("an empty token")
			}
			all.WriteString(token.text)
		}
		if all.String() != sql {
			t.Fatalf("%q became %q", sql, all.String())
		}
		if got := blankOut(sql); len(got) != len(sql) || strings.Count(got, "\n") != strings.Count(sql, "\n") {
			t.Fatalf("%q was blanked out to %q", sql, got)
		}
		once := normalizeSQL(sql)
		if twice := normalizeSQL(once); twice != once {
			t.Fatalf("%q became %q, then %q", sql, once, twice)
		}
	})
}

// Every table stands after those that it reads, unless they go in a circle, and then a circle is named.
func TestSortTopologically(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		reads := map[string][]string{}
		for _, name := range names {
			reads[name] = rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 2, rapid.ID[string]).Draw(t, name)
		}
		order, circles := sortTopologically(reads)
		if len(order) != len(names) {
			t.Fatalf("%d of %d tables", len(order), len(names))
		}
		at := map[string]int{}
		for i, name := range order {
			at[name] = i
		}
		for _, circle := range circles {
			if circle[0] != circle[len(circle)-1] || len(circle) < 2 {
				t.Fatalf("no circle: %v", circle)
			}
			for i := range len(circle) - 1 {
				found := false
				for _, input := range reads[circle[i]] {
					found = found || input == circle[i+1]
				}
				if !found {
					t.Fatalf("%s does not read %s", circle[i], circle[i+1])
				}
			}
		}
		disordered := false
		for name, inputs := range reads {
			for _, input := range inputs {
				disordered = disordered || at[input] >= at[name]
			}
		}
		if disordered != (len(circles) > 0) {
			t.Fatalf("order %v of %v, circles %v", order, reads, circles)
		}
	})
}
