package runs

import (
	"strings"
	"testing"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/lake"
	"github.com/shoplake/shoplake/internal/pipeline"
)

func TestWhyTheWholeTableIsBuilt(t *testing.T) {
	t.Parallel()
	model := &pipeline.Model{Table: "gold.a", Inputs: []pipeline.Input{{Table: "silver.a"}, {Table: "silver.b"}}}
	both := map[string]int64{"silver.a": 1, "silver.b": 2}
	partly := func(fingerprints ...string) string {
		var ps parts
		for i, f := range fingerprints {
			ps = ps.and(part{Inputs: map[string]int64{"silver.a": int64(i)}, Fingerprint: f})
		}
		return encodeParts(ps)
	}
	for name, c := range map[string]struct {
		built map[string]string
		reads map[string]int64
		full  bool
		want  string
	}{
		"nothing":                        {map[string]string{propertyFingerprint: "f"}, both, false, ""},
		"never built":                    {nil, nil, false, "never built"},
		"intervals alone":                {map[string]string{propertyParts: partly("f")}, nil, false, "never built"},
		"full refresh":                   {map[string]string{propertyFingerprint: "f"}, both, true, "full refresh"},
		"edited":                         {map[string]string{propertyFingerprint: "e"}, both, false, "its SQL"},
		"new input":                      {map[string]string{propertyFingerprint: "f"}, map[string]int64{"silver.a": 1}, false, "reads silver.b for the first time"},
		"intervals":                      {map[string]string{propertyFingerprint: "f", propertyParts: partly("f", "f")}, both, false, ""},
		"intervals by other SQL":         {map[string]string{propertyFingerprint: "f", propertyParts: partly("f", "e")}, both, false, "a run of an interval"},
		"intervals that nobody can read": {map[string]string{propertyFingerprint: "f", propertyParts: "{"}, both, false, "a run of an interval"},
	} {
		why := wholeReason(facts{submitted: &dispatchv1.RunSubmitted{FullRefresh: c.full}}, &lake.Table{Summary: c.built}, model, c.reads, "f")
		if (why.words == "") != (c.want == "") || !strings.Contains(why.words, c.want) {
			t.Errorf("%s: everything is built because %q, want %q", name, why.words, c.want)
		}
	}
}

// What intervals leave is kept within bounds: of too many parts the table is built as a whole.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	var ps parts
	for i := range int64(maxParts) {
		ps = ps.and(part{Inputs: map[string]int64{"silver.a": i}, Fingerprint: "f"})
		ps = ps.and(part{Inputs: map[string]int64{"silver.a": i}, Fingerprint: "f"}) // the same again
	}
	if len(ps) != maxParts || ps.otherThan("f") {
		t.Fatalf("%d parts, of other fingerprints: %t", len(ps), ps.otherThan("f"))
	}
	if ps = ps.and(part{Inputs: map[string]int64{"silver.a": -1}, Fingerprint: "f"}); !ps.otherThan("f") || len(decodeParts(encodeParts(ps))) != 1 {
		t.Errorf("of more parts than are kept there are %v", ps)
	}
	if ps = ps.and(part{Inputs: map[string]int64{"silver.a": 0}, Fingerprint: "f"}); !ps.otherThan("f") {
		t.Error("that there were more parts is forgotten")
	}
}
