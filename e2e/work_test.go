package e2e

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/worker"
)

// workload is a tiny pipeline with gold tables whose one task works as a header line says, by name, over a query that gives n.
func workload(t *testing.T, tasks, queries map[string]string) fs.FS {
	t.Helper()
	files := map[string]string{}
	for table, query := range queries {
		files["gold/"+table+".sql"] = "-- description: Work.\n-- key: n\n-- tasks: " + tasks[table] + "\n-- input silver.sales: all\n" +
			"SELECT CAST(w.n AS BIGINT) AS n, CAST((SELECT count(*) FROM silver.sales) AS BIGINT) AS sales FROM (" + query + ") AS w\n"
	}
	return tinyWith(t, files)
}

// some is a query that takes about so many tenths of a second of one processor, endless one that never ends.
func some(tenths int) string {
	return fmt.Sprintf("SELECT floor(sum(sqrt(i))) %% 10 AS n FROM range(%d) r(i)", tenths*10_000_000)
}

const endless = "SELECT count(*) AS n FROM range(10000000000) a, range(1000) b"

// sell drops two months of sales.
func (s *shop) sell() {
	s.t.Helper()
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,1\nb,2026-02-05,1,10\n")
}

func (s *shop) workers() map[string]*shoplakev1.Worker {
	s.t.Helper()
	list, err := s.health.ListWorkers(s.t.Context(), &shoplakev1.ListWorkersRequest{})
	if err != nil {
		s.t.Fatal(err)
	}
	workers := map[string]*shoplakev1.Worker{}
	for _, w := range list.GetWorkers() {
		workers[strings.TrimPrefix(w.GetName(), "workers/")] = w
	}
	return workers
}

// await asks for something that nobody tells until it is so.
func (s *shop) await(what string, f func() bool) {
	s.t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// triesOf are the attempts at a stage's tasks, by when they began.
func (s *shop) triesOf(stage *shoplakev1.Stage) (tries []*shoplakev1.Attempt) {
	s.t.Helper()
	list, err := s.runs.ListTasks(s.t.Context(), &shoplakev1.ListTasksRequest{Parent: stage.GetName(), PageSize: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, task := range list.GetTasks() {
		tries = append(tries, task.GetTries()...)
	}
	slices.SortFunc(tries, func(a, b *shoplakev1.Attempt) int {
		return a.GetStartTime().AsTime().Compare(b.GetStartTime().AsTime())
	})
	return tries
}

// A stage of a pool waits until a worker of that pool is there, though others have nothing to do.
func TestPoolWaitsForItsWorkers(t *testing.T) {
	t.Parallel()
	s := setup(t, workload(t, map[string]string{"big": "pool large"}, map[string]string{"big": some(0)}), 0)
	s.startWorkerAs(worker.Config{ID: "small", MemoryLimit: 1 << 30})
	s.sell()
	run, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if err != nil {
		t.Fatal(err)
	}
	// All else is done, and the other worker has told since that it does nothing.
	s.watchUntil(run.GetName(), func(*shoplakev1.WatchRunResponse) bool {
		stages := s.stagesOf(run.GetName())
		return stages["gold.daily_sales"].GetState() == shoplakev1.StageState_STAGE_STATE_SUCCEEDED && stages["gold.big"].GetQueuedSince() != nil
	})
	since := s.stagesOf(run.GetName())["gold.big"].GetQueuedSince().AsTime()
	s.await("the idle worker tells that it is there", func() bool {
		w := s.workers()["small"]
		return w.GetHeartbeatTime().AsTime().After(since) && len(w.GetTasks()) == 0
	})
	if stage := s.stagesOf(run.GetName())["gold.big"]; stage.GetTasksRunning() != 0 || stage.GetAttempts() != 0 {
		t.Errorf("no worker of the pool is there, but gold.big is %v", stage)
	}
	s.startWorkerAs(worker.Config{ID: "big", Pool: "large", MemoryLimit: 1 << 30})
	if ended := s.wait(run.GetName()); ended.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
		t.Fatalf("the run ended as %v: %v", ended.GetState(), ended.GetError())
	}
	for table, stage := range s.stagesOf(run.GetName()) {
		want := "small"
		if table == "gold.big" {
			want = "big"
		}
		for _, try := range s.triesOf(stage) {
			if try.GetWorker() != want {
				t.Errorf("worker %s did a task of %s", try.GetWorker(), table)
			}
		}
	}
}

// A worker never does more at a time than its slots hold; a task that asks for more than there are gets them all.
func TestTasksTakeTheirSlots(t *testing.T) {
	t.Parallel()
	const slots = 3
	takes := map[string]int{"gold.huge": slots, "gold.wide1": 2, "gold.wide2": 2}
	tasks := map[string]string{"huge": "slots 9", "wide1": "slots 2", "wide2": "slots 2"}
	queries := map[string]string{}
	for _, table := range []string{"huge", "wide1", "wide2", "narrow1", "narrow2", "narrow3"} {
		queries[table] = some(3)
		tasks[table] = cmp.Or(tasks[table], "slots 1")
	}
	s := setup(t, workload(t, tasks, queries), 0)
	s.startWorkerAs(worker.Config{Slots: slots, Threads: 1, MemoryLimit: 1 << 30})
	s.sell()
	run, stages := s.daily()
	type moment struct {
		at    time.Time
		slots int
	}
	var moments []moment
	for table := range stages {
		for _, try := range s.triesOf(s.stagesOf(run.GetName())[table]) {
			n := max(1, takes[table])
			moments = append(moments, moment{try.GetStartTime().AsTime(), n}, moment{try.GetEndTime().AsTime(), -n})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.slots, b.slots)) })
	taken, most, most1 := 0, 0, 0
	for _, m := range moments {
		if taken += m.slots; m.slots == 1 {
			most1 = max(most1, taken)
		}
		most = max(most, taken)
	}
	if most != slots {
		t.Errorf("tasks took %d slots at a time of a worker that has %d", most, slots)
	}
	if most1 < 2 {
		t.Errorf("no task of one slot ever ran beside another: this shows less than it should")
	}
}

// An attempt that takes too long is stopped, tried again as often as is said, and frees its slot.
func TestTaskTimeout(t *testing.T) {
	t.Parallel()
	s := setup(t, workload(t, map[string]string{"slow": "timeout 1s, attempts 2"}, map[string]string{"slow": endless}), 1)
	s.sell()
	run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	e := run.GetError()
	if run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED || e.GetStage() != "gold.slow" || e.GetClass() != shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT ||
		!strings.Contains(e.GetMessage(), "longer than its timeout of 1s") {
		t.Errorf("the run ended as %v: %v", run.GetState(), e)
	}
	stages := s.stagesOf(run.GetName())
	tries := s.triesOf(stages["gold.slow"])
	if len(tries) != 2 {
		t.Fatalf("tried %d times: %v", len(tries), tries)
	}
	for _, try := range tries {
		if took := try.GetEndTime().AsTime().Sub(try.GetStartTime().AsTime()); took < time.Second || !strings.Contains(try.GetError().GetMessage(), "timeout of 1s") {
			t.Errorf("an attempt took %v: %v", took, try.GetError())
		}
	}
	if state := stages["gold.daily_sales"].GetState(); state != shoplakev1.StageState_STAGE_STATE_SUCCEEDED {
		t.Errorf("gold.daily_sales is %v, though one slot was free in between", state)
	}
}

// A stage that takes too long fails, and gives back the slot at once: another stage of the run waits for it.
func TestStageTimeoutFreesTheSlot(t *testing.T) {
	t.Parallel()
	s := setup(t, workload(t, map[string]string{"a_slow": "stage_timeout 1s", "b_next": "slots 1"}, map[string]string{"a_slow": endless, "b_next": some(1)}), 1)
	s.sell()
	run, _ := s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
	if e := run.GetError(); run.GetState() != shoplakev1.RunState_RUN_STATE_FAILED || e.GetStage() != "gold.a_slow" || !strings.Contains(e.GetMessage(), "stage's timeout of 1s") {
		t.Errorf("the run ended as %v: %v", run.GetState(), e)
	}
	if state := s.stagesOf(run.GetName())["gold.b_next"].GetState(); state != shoplakev1.StageState_STAGE_STATE_SUCCEEDED {
		t.Errorf("gold.b_next is %v", state)
	}
	s.await("the worker is free", func() bool {
		h, err := s.health.GetHealth(t.Context(), &shoplakev1.GetHealthRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return h.GetTasksRunning() == 0 && h.GetTasksWaiting() == 0
	})
}

// A query that does not fit into a slot's part of the memory is tried again with the whole worker to itself, where it spills.
func TestOutOfMemoryGetsAWorkerToItself(t *testing.T) {
	t.Parallel()
	// 1.5 million rows of 64 letters are sorted: more than the worker has.
	const sorted = "SELECT sum(length(v) * rn) % 1000 AS n FROM (SELECT v, row_number() OVER (ORDER BY v) AS rn FROM " +
		"(SELECT md5(CAST(i AS VARCHAR)) || md5(CAST(i + 1 AS VARCHAR)) AS v FROM range(1500000) r(i)))"
	tasks, queries := map[string]string{"heavy": "slots 1"}, map[string]string{"heavy": sorted}
	for n := range 4 {
		table := fmt.Sprintf("light%d", n)
		tasks[table], queries[table] = "slots 1", some(4)
	}
	s := setup(t, workload(t, tasks, queries), 0)
	s.startWorkerAs(worker.Config{Slots: 2, Threads: 8, MemoryLimit: 80 << 20})
	s.sell()
	spilled := make(chan string, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for t.Context().Err() == nil {
			files, _ := filepath.Glob(s.path("scratch", "*", "*", "spill", "session-*", "*"))
			for _, file := range files {
				if info, err := os.Stat(file); err == nil && info.Size() > 0 {
					spilled <- file
					return
				}
			}
			<-tick.C
		}
	}()
	run, _ := s.daily()
	stages := s.stagesOf(run.GetName())
	tries := s.triesOf(stages["gold.heavy"])
	if len(tries) != 2 || tries[0].GetError().GetClass() != shoplakev1.ErrorClass_ERROR_CLASS_TRANSIENT || !strings.Contains(tries[0].GetError().GetMessage(), "out of memory") || tries[1].GetError() != nil {
		t.Fatalf("it was tried so: %v", tries)
	}
	alone := period{tries[1].GetStartTime().AsTime(), tries[1].GetEndTime().AsTime()}
	shared := false
	for table, stage := range stages {
		if table == "gold.heavy" {
			continue
		}
		for _, try := range s.triesOf(stage) {
			other := period{try.GetStartTime().AsTime(), try.GetEndTime().AsTime()}
			if other.overlaps(alone) {
				t.Errorf("a task of %s ran beside the one that ran out of memory", table)
			}
			shared = shared || other.overlaps(period{tries[0].GetStartTime().AsTime(), tries[0].GetEndTime().AsTime()})
		}
	}
	if !shared {
		t.Error("the first attempt had the worker to itself too: this shows less than it should")
	}
	select {
	case <-spilled:
	default:
		t.Error("nothing was spilled")
	}
}

// A worker that is stopped ends what it has begun where there is time for that, and else hands it back at once; it takes no more.
func TestStoppedWorkerEndsOrHandsBack(t *testing.T) {
	t.Parallel()
	for name, grace := range map[string]time.Duration{"ends": time.Minute, "hands back": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, workload(t, map[string]string{"slow": "slots 1", "then": "slots 1"}, map[string]string{"slow": some(15), "then": some(0)}), 0)
			// Longer than the test: what the other worker gets was handed back.
			config := worker.Config{ID: "first", AckWait: 5 * time.Minute, MemoryLimit: 1 << 30}
			first := s.startWorkerAs(config)
			s.sell()
			run, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily"})
			if err != nil {
				t.Fatal(err)
			}
			s.watchUntil(run.GetName(), func(*shoplakev1.WatchRunResponse) bool {
				return s.stagesOf(run.GetName())["gold.slow"].GetTasksRunning() == 1
			})
			stopped := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), grace)
				defer cancel()
				stopped <- first.Close(ctx)
			}()
			s.await("the worker is stopped, or tells that it is being stopped", func() bool {
				w := s.workers()["first"]
				return w == nil || w.GetState() == shoplakev1.WorkerState_WORKER_STATE_DRAINING
			})
			config.ID = "second"
			s.startWorkerAs(config)
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			since := time.Now()
			if ended := s.wait(run.GetName()); ended.GetState() != shoplakev1.RunState_RUN_STATE_SUCCEEDED {
				t.Fatalf("the run ended as %v: %v", ended.GetState(), ended.GetError())
			}
			var by []string
			stages := s.stagesOf(run.GetName())
			for n, try := range s.triesOf(stages["gold.slow"]) {
				by = append(by, try.GetWorker())
				// It is released again: what the queue gives out again gets a whole worker, as it may have brought the other one down.
				if try.GetRelease() != uint32(n+1) {
					t.Errorf("attempt %d was at release %d: %v", n+1, try.GetRelease(), try)
				}
			}
			want := map[string]string{"ends": "[first]", "hands back": "[first second]"}[name]
			if fmt.Sprint(by) != want {
				t.Errorf("gold.slow was tried by %v, want %s", by, want)
			}
			for table, stage := range stages {
				for _, try := range s.triesOf(stage) {
					if try.GetWorker() == "first" && try.GetStartTime().AsTime().After(since) {
						t.Errorf("a worker that was stopped began a task of %s", table)
					}
				}
			}
		})
	}
}
