package pipeline_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shoplake/shoplake/pipelines"
)

// A document that uses most of the standard is read, and what is not Shoplake's is passed over.
func TestCompleteContract(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/complete.odcs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := columns("{name: a, logicalType: string}")
	files["contracts/complete.odcs.yaml"] = string(text)
	p := load(t, changed(files))
	c := p.Source("complete").Contract
	if len(c.Columns) != 9 || c.Glob != "*.csv" || c.Format.Delimiter != ';' || c.BusinessDay.Column != "thing_date" {
		t.Errorf("contract %+v", c)
	}
	if len(c.SLA) != 3 || c.SLA[0].Value != "4" || c.SLA[0].Unit != "d" {
		t.Errorf("SLA %+v", c.SLA)
	}
}

// publishedCheck validates contracts against the schema that the standard's own package brings along.
const publishedCheck = `
import importlib.util, json, os, sys
try:
    import jsonschema, yaml
    spec = importlib.util.find_spec("open_data_contract_standard")
except ImportError as e:
    spec = None
if spec is None:
    sys.exit(3)
with open(os.path.join(os.path.dirname(spec.origin), "schema.json")) as f:
    schema = json.load(f)
validator = jsonschema.validators.validator_for(schema)(schema)
failed = False
for path in sys.argv[1:]:
    with open(path) as f:
        document = yaml.safe_load(f)
    for error in validator.iter_errors(document):
        failed = True
        print(path, ".".join(str(p) for p in error.path), error.message[:300])
sys.exit(1 if failed else 0)
`

// Our contracts are valid by the schema that the standard publishes, which is not ours to ship: it is taken from the Python
// package open-data-contract-standard where that is installed.
func TestContractsAreValidByThePublishedSchema(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3: the published schema is checked where python3 and its packages open-data-contract-standard, jsonschema and pyyaml are installed")
	}
	dir := t.TempDir()
	var paths []string
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	shipped, err := fs.Glob(pipelines.Ecommerce, "contracts/*.odcs.yaml")
	if err != nil || len(shipped) == 0 {
		t.Fatalf("contracts %v, %v", shipped, err)
	}
	for _, name := range shipped {
		text, err := fs.ReadFile(pipelines.Ecommerce, name)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Base(name), string(text))
	}
	write("small.odcs.yaml", small["contracts/sales.odcs.yaml"])
	others, err := filepath.Glob("../../examples/*/contracts/*.odcs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(append(paths, "testdata/complete.odcs.yaml"), others...)
	out, err := exec.CommandContext(t.Context(), python, append([]string{"-c", publishedCheck}, paths...)...).CombinedOutput()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 3 {
		t.Skip("python3 lacks open-data-contract-standard, jsonschema or pyyaml: pip install them to check against the published schema")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, strings.TrimSpace(string(out)))
	}
}
