package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shoplake/shoplake/bench/machine"
	"github.com/shoplake/shoplake/client"
	"github.com/shoplake/shoplake/controlplane"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/worker"
)

const (
	// links is how many stages follow each other in the chain.
	links = 30
	// mostHandoff is how many milliseconds a hand-off takes at most, as promised, on an idle machine.
	mostHandoff = 20
)

// chain is a pipeline whose stages depend on each other, one after the other, and do next to nothing.
func chain(b *testing.B) fstest.MapFS {
	b.Helper()
	folder := fstest.MapFS{}
	for _, name := range []string{"pipeline.yaml", "contracts/sales.odcs.yaml"} {
		content, err := os.ReadFile(filepath.Join("testdata/tiny", name))
		if err != nil {
			b.Fatal(err)
		}
		folder[name] = &fstest.MapFile{Data: content}
	}
	before := "bronze.sales"
	for i := range links {
		name := fmt.Sprintf("link_%02d", i)
		folder["silver/"+name+".sql"] = &fstest.MapFile{Data: fmt.Appendf(nil,
			"-- description: A link of the chain.\n-- key: sale_id\nSELECT sale_id, sale_date, version, amount FROM %s\n", before)}
		before = "silver." + name
	}
	return folder
}

// BenchmarkHandoff measures how long a stage that waited for another takes to begin: from the event that says that the other is
// committed to the start of its first task at a worker, both as the run's log tells them. Planning is part of it, the commit is not.
// A first run makes the tables; the others, each after a new file, are measured.
func BenchmarkHandoff(b *testing.B) {
	ctx, dir, log := b.Context(), b.TempDir(), slog.New(slog.DiscardHandler)
	nats, err := bus.StartServer(ctx, bus.ServerConfig{StoreDir: filepath.Join(dir, "nats"), InProcessOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nats.Close)
	place := bus.Config{Server: nats}
	cp, err := controlplane.Start(ctx, controlplane.Config{
		Listen: "127.0.0.1:0", Bus: place, Warehouse: filepath.Join(dir, "lake"), Landing: filepath.Join(dir, "landing"), ScratchDir: filepath.Join(dir, "scratch"),
		Pipeline: chain(b), Pool: worker.DefaultPool, Settle: time.Nanosecond, Log: log, MemoryLimit: 1 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cp.Close() })
	w, err := worker.Start(ctx, worker.Config{Bus: place, Warehouse: filepath.Join(dir, "lake"), Landing: filepath.Join(dir, "landing"),
		ScratchDir: filepath.Join(dir, "scratch"), MemoryLimit: 1 << 30, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.Close(context.WithoutCancel(ctx)) })
	c, err := client.Dial(ctx, cp.Address())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	events, err := bus.Connect(ctx, place)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(events.Close)
	var took []time.Duration
	run := func(file int) string {
		path := filepath.Join(dir, "landing", "sales", fmt.Sprintf("%d.csv", file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "sale_id,sale_date,version,amount\ns%d,2026-01-05,1,1\n", file), 0o644); err != nil {
			b.Fatal(err)
		}
		run, err := c.Submit(ctx, "daily", client.SubmitOptions{})
		if err == nil {
			run, err = c.WaitRun(ctx, run.GetName(), nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		return filepath.Base(run.GetName())
	}
	run(0)
	watch := machine.Begin()
	for n := 1; b.Loop(); n++ {
		took = append(took, handoffs(b, events, run(n))...)
	}
	slices.Sort(took)
	ms := func(part float64) float64 { return took[int(part*float64(len(took)-1))].Seconds() * 1000 }
	b.ReportMetric(float64(len(took)), "handoffs")
	b.ReportMetric(ms(0.5), "p50-ms")
	b.ReportMetric(ms(0.99), "p99-ms")
	b.ReportMetric(ms(1), "max-ms")
	watch.Judge(b, ms(0.99) < mostHandoff, "a hand-off took %.1f ms at the 99th percentile, promised are less than %d ms", ms(0.99), mostHandoff)
}

// handoffs are the times between the links of a run.
func handoffs(b *testing.B, events *bus.Bus, run string) []time.Duration {
	b.Helper()
	log, err := events.ReadRun(b.Context(), run, 0)
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	var committed time.Time
	for _, message := range log {
		for _, e := range message.Events.GetEvents() {
			switch {
			case e.GetStageCommitted() != nil:
				committed = e.GetTime().AsTime()
			case e.GetTask().GetStarted() != nil && !committed.IsZero():
				took, committed = append(took, e.GetTask().GetStartTime().AsTime().Sub(committed)), time.Time{}
			}
		}
	}
	if len(took) != links {
		b.Fatalf("run %s handed over %d times, want %d", run, len(took), links)
	}
	return took
}
