// Package archtest holds who may know whom: the rules that keep the parts of the program apart.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shoplake/shoplake"

// goPackage is what `go list` tells of a package.
type goPackage struct {
	ImportPath, Name                   string
	Imports, TestImports, XTestImports []string
}

// imports are a package's own, and those of its tests where asked for.
func (p goPackage) imports(tests bool) []string {
	if !tests {
		return p.Imports
	}
	return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
}

// packages lists every package of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var list []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) < 10 {
		t.Fatalf("go list found %d packages only", len(list))
	}
	return list
}

// below tells whether a path is that of a package or below it.
func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func ours(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, module+"/")
	return rest, ok
}

// rule says what a part of the house must not know.
type rule struct {
	part string
	// never are parts of ours that it must not import; only, where not nil, are the only ones that it may.
	never, only []string
	why         string
}

var rules = []rule{
	{part: "controlplane", never: []string{"worker", "client"}, why: "control plane and workers meet in gen and internal only"},
	{part: "worker", never: []string{"controlplane", "client"}, why: "control plane and workers meet in gen and internal only"},
	{part: "client", only: []string{"client", "gen"}, why: "the SDK is for programs that have nothing else of ours"},
	{part: "gen", only: []string{"gen"}, why: "generated code stands alone"},
	{part: "internal", never: []string{"controlplane", "worker", "client"}, why: "what both sides use knows neither"},
	{part: "internal/pipeline", only: []string{"internal/pipeline"}, why: "pipelines are pure: no NATS, no Iceberg, no DuckDB"},
	{part: "internal/lake", only: []string{"internal/lake", "internal/failpoint"}, why: "the lake knows no run and no task"},
	{part: "internal/engine", only: []string{"internal/engine", "internal/pipeline", "internal/failpoint"}, why: "the engine is a seam: it runs SQL and knows nothing of runs or tables' history"},
	{part: "internal/sample", only: []string{"internal/sample"}, why: "sample data is made without the program that reads it"},
	{part: "pipelines", only: []string{"pipelines"}, why: "a pipeline is a folder"},
}

// onlyImporters are libraries that one package alone may import, its tests and others' included.
var onlyImporters = []struct {
	library string
	in      string
	// tests are packages whose tests may import it all the same.
	tests []string
}{
	// The lake's tests read its tables with bare DuckDB: that others can read them is what they test.
	{library: "github.com/duckdb/duckdb-go", in: "internal/engine", tests: []string{"internal/lake/interop"}},
	{library: "github.com/duckdb/duckdb-go-bindings", in: "internal/engine"},
	{library: "github.com/apache/iceberg-go", in: "internal/lake"},
	{library: "github.com/nats-io/nats.go", in: "internal/bus"},
	{library: "github.com/nats-io/nats-server", in: "internal/bus"},
}

func TestWhoMayKnowWhom(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		self, ok := ours(p.ImportPath)
		if !ok {
			continue
		}
		for _, imported := range p.imports(false) {
			other, ok := ours(imported)
			if !ok {
				continue
			}
			if below(other, "cmd") {
				t.Errorf("%s imports %s: nobody imports cmd", self, other)
			}
			for _, r := range rules {
				if below(self, r.part) && r.refuses(other) {
					t.Errorf("%s imports %s: %s", self, other, r.why)
				}
			}
		}
	}
}

func (r rule) refuses(other string) bool {
	in := func(parts []string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return below(other, part) })
	}
	return in(r.never) || (r.only != nil && !in(r.only))
}

func TestOnlyImporters(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		self, _ := ours(p.ImportPath)
		for _, o := range onlyImporters {
			if below(self, o.in) {
				continue
			}
			for _, imported := range p.imports(!slices.Contains(o.tests, self)) {
				if below(imported, o.library) {
					t.Errorf("%s imports %s: only %s may", self, imported, o.in)
				}
			}
		}
	}
}

func TestNoPackageIsNamedForNothing(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib"}, p.Name) {
			t.Errorf("%s: the name %s says nothing; call it for what it is about", p.ImportPath, p.Name)
		}
	}
}
