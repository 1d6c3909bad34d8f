//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shoplake/shoplake/bench/machine"
	"github.com/shoplake/shoplake/client"
	"github.com/shoplake/shoplake/e2e/deploy"
)

const (
	// heavyDays are the partitions of the heavy table, and heavySales the rows of each.
	heavyDays, heavySales = 24, 1500
	// mostOfOne is how much of the time of one worker two take at most, as promised, in percent.
	mostOfOne = 60
	// heavy is a model that costs much processor time and reads little: every pair of a day's sales.
	heavy = `-- description: A number that takes a while to find out.
-- partition: sale_date
-- key: sale_id
-- input bronze.sales: same(sale_date)
SELECT a.sale_id, a.sale_date, max(md5(a.sale_id || b.sale_id)) AS code
FROM bronze.sales AS a JOIN bronze.sales AS b ON a.sale_date = b.sale_date
GROUP BY a.sale_id, a.sale_date
`
)

// heavyShop writes a pipeline and its landing file into a folder.
func heavyShop(b *testing.B, dir string) {
	b.Helper()
	write := func(name string, content []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for _, name := range []string{"pipeline.yaml", "contracts/sales.odcs.yaml"} {
		content, err := os.ReadFile(filepath.Join("testdata/tiny", name))
		if err != nil {
			b.Fatal(err)
		}
		write("pipeline/"+name, content)
	}
	write("pipeline/gold/heavy.sql", []byte(heavy))
	var rows bytes.Buffer
	rows.WriteString("sale_id,sale_date,version,amount\n")
	for i := range heavyDays * heavySales {
		fmt.Fprintf(&rows, "s%d,%s,1,1\n", i, time.Date(2026, 1, 1+i%heavyDays, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))
	}
	write("landing/sales/all.csv", rows.Bytes())
}

// BenchmarkWorkers measures a run that is bound by processor time, by one worker and then by two, each a process that has one
// processor: full refreshes of the same data, in pairs.
func BenchmarkWorkers(b *testing.B) {
	dir := b.TempDir()
	heavyShop(b, dir)
	api, nats := deploy.FreePort(b), deploy.FreePort(b)
	control := deploy.Launch(b, "control plane", dir, deploy.Environment(), deploy.Program(b), "controlplane", "--data-dir", dir, "--landing", filepath.Join(dir, "landing"),
		"--pipeline", filepath.Join(dir, "pipeline"), "--listen", "127.0.0.1:"+api, "--nats-port", nats, "--schedules=false")
	control.Says("Serving at ")
	join := func(id string) *deploy.Process {
		w := deploy.Launch(b, "worker "+id, dir, deploy.Environment("GOMAXPROCS=1"), deploy.Program(b), "worker", "--id", id, "--data-dir", dir,
			"--landing", filepath.Join(dir, "landing"), "--nats", "nats://127.0.0.1:"+nats, "--nats-credentials", filepath.Join(dir, "nats", "worker.json"), "--threads", "1")
		w.Says("Worker " + id + " takes tasks")
		return w
	}
	c, err := client.Dial(b.Context(), "127.0.0.1:"+api)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	run := func() time.Duration {
		run, err := c.Submit(b.Context(), "daily", client.SubmitOptions{FullRefresh: true})
		if err == nil {
			run, err = c.WaitRun(b.Context(), run.GetName(), nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		return run.GetEndTime().AsTime().Sub(run.GetStartTime().AsTime())
	}
	join("first")
	run() // makes the tables
	watch := machine.Begin()
	var one, two time.Duration
	for n := 0; b.Loop(); n++ {
		one += run()
		second := join(fmt.Sprint("second", n))
		two += run()
		second.Stop()
	}
	b.ReportMetric(one.Seconds()/float64(b.N), "one-s")
	b.ReportMetric(two.Seconds()/float64(b.N), "two-s")
	ofOne := 100 * two.Seconds() / one.Seconds()
	b.ReportMetric(ofOne, "%ofone")
	watch.Judge(b, ofOne <= mostOfOne, "two workers took %.0f %% of the time of one, promised are %d %%", ofOne, mostOfOne)
}
