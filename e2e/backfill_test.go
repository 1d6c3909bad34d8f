package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// months is a tiny pipeline in which each month stands for itself, and a table that is not partitioned.
func months(t *testing.T) fs.FS {
	t.Helper()
	silver, err := os.ReadFile("testdata/tiny/silver/sales.sql")
	if err != nil {
		t.Fatal(err)
	}
	return tinyWith(t, map[string]string{
		"checks/amount_small.sql": "-- table: silver.sales\n-- severity: error\n-- description: No sale is that large.\n\nSELECT sale_id, amount FROM silver.sales WHERE amount > 1000\n",
		"silver/sales.sql":        strings.ReplaceAll(string(silver), "-- reach: any\n", ""),
		"gold/totals.sql": "-- description: All that was ever sold.\n-- key: n\n-- input gold.daily_sales: all\n" +
			"SELECT CAST(count(*) AS BIGINT) AS n, CAST(sum(revenue) AS DECIMAL(38,4)) AS revenue FROM gold.daily_sales\n",
	})
}

// sellMonths drops a file a month of 2026, each ingested by a run of its own so that its rows have a data file to themselves.
func (s *shop) sellMonths(n int) {
	s.t.Helper()
	for month := 1; month <= n; month++ {
		s.drop("sales", fmt.Sprintf("%02d.csv", month), fmt.Sprintf("sale_id,sale_date,version,amount\na%[1]d,2026-%02[1]d-05,1,%[1]d\nb%[1]d,2026-%02[1]d-15,1,10\n", month))
		s.daily()
	}
}

func (s *shop) backfill(r *shoplakev1.CreateBackfillRequest) *shoplakev1.Backfill {
	s.t.Helper()
	r.Flow, r.IntervalSize = "flows/daily", 1
	b, err := s.backfills().CreateBackfill(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func (s *shop) backfills() shoplakev1.BackfillServiceClient {
	return shoplakev1.NewBackfillServiceClient(s.conn)
}

// awaitBackfill asks for a backfill until f is content with it.
func (s *shop) awaitBackfill(name string, f func(*shoplakev1.Backfill) bool) *shoplakev1.Backfill {
	s.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := s.backfills().GetBackfill(s.t.Context(), &shoplakev1.GetBackfillRequest{Name: name})
		switch {
		case status.Code(err) == codes.Unavailable:
		case err != nil:
			s.t.Fatal(err)
		case f(b):
			return b
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("the backfill does not come to what is waited for: %v", b)
		}
	}
}

func (s *shop) endOf(name string) *shoplakev1.Backfill {
	s.t.Helper()
	return s.awaitBackfill(name, func(b *shoplakev1.Backfill) bool { return b.GetEndTime() != nil })
}

// runningOf is the run of a backfill that is under way.
func runningOf(b *shoplakev1.Backfill) string {
	for _, v := range b.GetIntervals() {
		if v.GetState() == shoplakev1.BackfillIntervalState_BACKFILL_INTERVAL_STATE_RUNNING {
			return v.GetRun()
		}
	}
	return ""
}

// built are the partitions that a run planned, as the dry run of a backfill names them.
func (s *shop) built(run string) (list []string) {
	s.t.Helper()
	for table, stage := range s.stagesOf(run) {
		for _, p := range stage.GetPlanned() {
			list = append(list, table+" "+p.GetPartition())
		}
	}
	slices.Sort(list)
	return list
}

func foretold(v *shoplakev1.BackfillInterval) (list []string) {
	for _, table := range v.GetTables() {
		for _, p := range table.GetPartitions() {
			list = append(list, table.GetTable()+" "+p.GetPartition())
		}
	}
	slices.Sort(list)
	return list
}

// A backfill builds exactly what its dry run says, in that order, and comes to what a full refresh does.
func TestBackfillBuildsWhatItsDryRunSays(t *testing.T) {
	t.Parallel()
	s := setup(t, months(t), 1)
	s.sellMonths(4)
	before := s.tablesNow()
	request := &shoplakev1.CreateBackfillRequest{StartDate: "2026-01-10", EndDate: "2026-04-01", ValidateOnly: true}
	plan := s.backfill(request)
	if len(plan.GetIntervals()) != 3 || plan.GetPartitionsTotal() != 7 || plan.GetIntervals()[0].GetStartDate() != "2026-01-10" || plan.GetIntervals()[1].GetStartDate() != "2026-02-01" {
		t.Fatalf("the plan is %v", plan)
	}
	if got := foretold(plan.GetIntervals()[2]); !slices.Equal(got, []string{"gold.daily_sales 2026-03", "gold.totals all", "silver.sales 2026-03"}) {
		t.Errorf("the last interval would build %v", got)
	}
	request.ValidateOnly = false
	request.RequestId = "6f1c1c1e-59a5-4b0e-9d0a-3e7f6a5b4c3d"
	created := s.backfill(request)
	if again := s.backfill(request); again.GetName() != created.GetName() {
		t.Errorf("the same request is %s and %s", created.GetName(), again.GetName())
	}
	b := s.endOf(created.GetName())
	if b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED || b.GetPartitionsDone() != 7 || b.GetIntervalsDone() != 3 {
		t.Fatalf("it ended as %v", b)
	}
	for i, v := range b.GetIntervals() {
		if want, got := foretold(plan.GetIntervals()[i]), s.built(v.GetRun()); !slices.Equal(got, want) {
			t.Errorf("interval %s built %v, the dry run said %v", v.GetStartDate(), got, want)
		}
	}
	id := strings.TrimPrefix(b.GetName(), "backfills/")
	if reason := s.stagesOf(b.GetIntervals()[1].GetRun())["silver.sales"].GetPlanned()[0].GetReason(); reason != "backfill "+id {
		t.Errorf("a partition was built because: %s", reason)
	}
	if got := s.tablesNow(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("tables were %v and are %v", before, got)
	}
	_, stages := s.daily()
	for table, stage := range stages {
		if stage.GetState() != shoplakev1.StageState_STAGE_STATE_UP_TO_DATE {
			t.Errorf("after the backfill %s is stale: %v", table, stage.GetPlanned())
		}
	}
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	if got := s.tablesNow(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("a full refresh makes %v, the backfill %v", got, before)
	}

	for want, r := range map[codes.Code]*shoplakev1.CreateBackfillRequest{
		codes.FailedPrecondition: {Flow: "flows/daily", StartDate: "2020-01-01", EndDate: "2020-02-01"},
		codes.InvalidArgument:    {Flow: "flows/daily", StartDate: "2026-02-01", EndDate: "2026-02-01"},
		codes.NotFound:           {Flow: "flows/none", StartDate: "2026-01-01", EndDate: "2026-02-01"},
	} {
		if _, err := s.backfills().CreateBackfill(t.Context(), r); status.Code(err) != want {
			t.Errorf("%v is answered by %v, want %v", r, err, want)
		}
	}
}

// A fresh run goes before the rest of a backfill; a backfill that is paused begins nothing, and one that is cancelled can go on.
func TestBackfillLetsOthersGoFirst(t *testing.T) {
	t.Parallel()
	s := setup(t, months(t), 1)
	s.sellMonths(5)
	before := s.tablesNow()
	b := s.backfill(&shoplakev1.CreateBackfillRequest{StartDate: "2026-01-01", EndDate: "2026-06-01"})
	s.awaitBackfill(b.GetName(), func(b *shoplakev1.Backfill) bool { return b.GetIntervalsDone() >= 1 && runningOf(b) != "" })
	fresh, _ := s.daily()
	then := s.awaitBackfill(b.GetName(), func(*shoplakev1.Backfill) bool { return true })
	if then.GetEndTime() != nil {
		t.Errorf("the fresh run came when the backfill was over: %v", then)
	}
	for _, v := range then.GetIntervals() {
		if v.GetRun() == "" {
			continue
		}
		run, err := s.runs.GetRun(t.Context(), &shoplakev1.GetRunRequest{Name: v.GetRun()})
		if err != nil {
			t.Fatal(err)
		}
		if begun := run.GetStartTime(); begun != nil && begun.AsTime().After(fresh.GetStartTime().AsTime()) && begun.AsTime().Before(fresh.GetEndTime().AsTime()) {
			t.Errorf("%s of the backfill began at %v, amid the fresh run (from %v to %v)", v.GetRun(), begun.AsTime(), fresh.GetStartTime().AsTime(), fresh.GetEndTime().AsTime())
		}
	}

	if _, err := s.backfills().PauseBackfill(t.Context(), &shoplakev1.PauseBackfillRequest{Name: b.GetName()}); err != nil {
		t.Fatal(err)
	}
	still := s.awaitBackfill(b.GetName(), func(b *shoplakev1.Backfill) bool { return runningOf(b) == "" })
	last, _ := s.daily()
	if now := s.awaitBackfill(b.GetName(), func(*shoplakev1.Backfill) bool { return true }); now.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_PAUSED ||
		now.GetIntervalsDone() != still.GetIntervalsDone() || now.GetIntervalsDone() == 5 {
		t.Errorf("it was paused as %v and is %v", still, now)
	}
	s.resumeBackfill(b.GetName())
	s.awaitBackfill(b.GetName(), func(b *shoplakev1.Backfill) bool { return runningOf(b) != "" })
	if _, err := s.backfills().CancelBackfill(t.Context(), &shoplakev1.CancelBackfillRequest{Name: b.GetName()}); err != nil {
		t.Fatal(err)
	}
	cancelled := s.endOf(b.GetName())
	if cancelled.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_CANCELLED || runningOf(cancelled) != "" {
		t.Errorf("it was cancelled and is %v", cancelled)
	}
	s.resumeBackfill(b.GetName())
	if b = s.endOf(b.GetName()); b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED || b.GetPartitionsDone() != b.GetPartitionsTotal() {
		t.Errorf("it was resumed and ended as %v", b)
	}
	if got := s.tablesNow(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("tables were %v and are %v", before, got)
	}
	if flow, err := shoplakev1.NewFlowServiceClient(s.conn).GetFlow(t.Context(), &shoplakev1.GetFlowRequest{Name: "flows/daily"}); err != nil || flow.GetLastRun().GetRun() != last.GetName() {
		t.Errorf("the last run of the flow is %v (%v), want %s, which was none of the backfill", flow.GetLastRun(), err, last.GetName())
	}
	list, err := s.backfills().ListBackfills(t.Context(), &shoplakev1.ListBackfillsRequest{})
	if err != nil || len(list.GetBackfills()) != 1 || list.GetBackfills()[0].GetIntervalsDone() != 5 {
		t.Errorf("listed are %v, %v", list, err)
	}
	if _, err := s.backfills().PauseBackfill(t.Context(), &shoplakev1.PauseBackfillRequest{Name: b.GetName()}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("what is over is paused: %v", err)
	}
}

func (s *shop) resumeBackfill(name string) {
	s.t.Helper()
	if _, err := s.backfills().ResumeBackfill(s.t.Context(), &shoplakev1.ResumeBackfillRequest{Name: name}); err != nil {
		s.t.Fatal(err)
	}
}

// A backfill that is told to goes on past an interval that fails, and tries it again when it is resumed; else it stops there.
func TestBackfillPastAFailedInterval(t *testing.T) {
	t.Parallel()
	s := setup(t, months(t), 1)
	s.sellMonths(3)
	for n, policy := range []shoplakev1.OnFailure{shoplakev1.OnFailure_ON_FAILURE_CONTINUE, shoplakev1.OnFailure_ON_FAILURE_STOP} {
		done := int32(2 - n)
		s.drop("sales", fmt.Sprintf("bad%d.csv", n), fmt.Sprintf("sale_id,sale_date,version,amount\na2,2026-02-05,%d,5000\n", 2+2*n))
		b := s.endOf(s.backfill(&shoplakev1.CreateBackfillRequest{StartDate: "2026-01-01", EndDate: "2026-04-01", OnFailure: policy}).GetName())
		if b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_FAILED || b.GetIntervalsDone() != done || b.GetIntervalsFailed() != 1 {
			t.Errorf("%v: it ended as %v", policy, b)
		}
		if notices := strings.Join(b.GetNotices(), "\n"); !strings.Contains(notices, "2026-02-01 to 2026-03-01 failed: silver.sales: check amount_small") {
			t.Errorf("%v: it says %s", policy, notices)
		}
		s.drop("sales", fmt.Sprintf("good%d.csv", n), fmt.Sprintf("sale_id,sale_date,version,amount\na2,2026-02-05,%d,%d\n", 3+2*n, 30+n))
		s.resumeBackfill(b.GetName())
		if b = s.endOf(b.GetName()); b.GetState() != shoplakev1.BackfillState_BACKFILL_STATE_SUCCEEDED || b.GetIntervals()[1].GetAttempts() != 2 {
			t.Errorf("%v: it was resumed and ended as %v", policy, b)
		}
		s.wantRevenue("2026-02-01", "2026-03-01", "2", fmt.Sprintf("%d.0000", 40+n))
	}
	got := s.tablesNow()
	s.run(&shoplakev1.SubmitRunRequest{Flow: "flows/daily", FullRefresh: true})
	if want := s.tablesNow(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the backfill left %v, a full refresh makes %v", got, want)
	}
}
