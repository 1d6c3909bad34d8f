package runs

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// difference compares two states, all fields but the tally, which follows from the tasks.
func difference(a, b *State) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(State{}, Stage{}), cmpopts.IgnoreFields(Stage{}, "tally"),
		cmpopts.IgnoreUnexported(Task{}), protocmp.Transform(), cmpopts.EquateEmpty())
}

func reread(t interface{ Fatal(...any) }, s *State) *State {
	data, err := encodeCheckpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	again, version, err := decodeCheckpoint(data, s.RunID)
	if err != nil || version != checkpointVersion {
		t.Fatal(version, err)
	}
	return again
}

// anyEvent draws an event of the graph's run, of any kind, in any order.
func anyEvent(t *rapid.T, n int) *dispatchv1.RunEvent {
	text := func(label string) string { return rapid.SampledFrom([]string{"", "x", "é", "1"}).Draw(t, label) }
	number := func(label string) int64 { return rapid.Int64Range(0, 5).Draw(t, label) }
	moment := func(label string) *timestamppb.Timestamp {
		return rapid.SampledFrom([]*timestamppb.Timestamp{nil, {}, {Seconds: 1_800_000_000 + int64(n), Nanos: 5}, {Seconds: 1_700_000_000}}).Draw(t, label)
	}
	table := rapid.SampledFrom(graph).Draw(t, "stage").GetTable()
	class := dispatchv1.ErrorClass(rapid.Int32Range(0, 3).Draw(t, "class"))
	plan := fmt.Sprint(table, number("plan")%2)
	e := &dispatchv1.RunEvent{Time: timestamppb.New(time.Unix(1_800_000_000+int64(n), 7))}
	switch kind := rapid.IntRange(0, 21).Draw(t, "kind"); kind {
	case 0, 1, 2:
		e.Kind = &dispatchv1.RunEvent_StagePlanned{StagePlanned: &dispatchv1.StagePlanned{Stage: table, PlanPath: text("path"), PlanSha256: plan, PlanNumber: uint32(number("number")),
			TaskIds: []string{"1", "2"}[:number("tasks")%3], Partitions: number("partitions"), Reason: text("reason"), HasChecks: number("checks") > 2,
			Planned: []*dispatchv1.PlannedPartition{{Partition: text("partition")}}, Notices: []string{text("notice")}}}
	case 3:
		e.Kind = &dispatchv1.RunEvent_StageUpToDate{StageUpToDate: &dispatchv1.StageUpToDate{Stage: table, Reason: text("reason"), Notices: []string{text("notice")}}}
	case 4:
		e.Kind = &dispatchv1.RunEvent_StageChecking{StageChecking: &dispatchv1.StageChecking{Stage: table, StagedPath: text("path"), StagedSha256: text("sha"), PlanPath: text("plan path"), PlanSha256: plan}}
	case 5:
		e.Kind = committing(table, uint64(number("epoch")), text("path"), text("sha")).GetKind()
	case 6:
		e.Kind = &dispatchv1.RunEvent_StageCommitted{StageCommitted: &dispatchv1.StageCommitted{Stage: table, Snapshots: map[string]int64{table: number("snapshot")},
			Maintenance: &dispatchv1.Maintained{FilesCompacted: number("compacted"), BytesRemoved: number("removed")}, Notices: []string{text("notice")}}}
	case 7:
		e.Kind = &dispatchv1.RunEvent_StageFailed{StageFailed: &dispatchv1.StageFailed{Stage: table, Class: class, Message: text("message")}}
	case 8, 9:
		e.Kind = &dispatchv1.RunEvent_StageReset{StageReset: &dispatchv1.StageReset{Stage: table, Reason: text("reason")}}
	case 10:
		e.Kind = &dispatchv1.RunEvent_Publishing{Publishing: &dispatchv1.RunPublishing{Epoch: 1}}
	case 11:
		if n > 30 {
			e.Kind = finished(shoplakev1.RunState_RUN_STATE_FAILED, uint64(number("version")), &Failure{Class: class, Stage: table, Message: text("message")}).GetKind()
			break
		}
		fallthrough
	case 12:
		if n > 20 {
			e.Kind = &dispatchv1.RunEvent_CancelRequested{CancelRequested: &dispatchv1.CancelRequested{}}
			break
		}
		fallthrough
	case 20:
		e.Kind = &dispatchv1.RunEvent_Suspended{Suspended: &dispatchv1.RunSuspended{By: text("by")}}
	case 21:
		e.Kind = &dispatchv1.RunEvent_Resumed{Resumed: &dispatchv1.RunResumed{Pinned: map[string]int64{table: number("snapshot")}}}
	default:
		r := &dispatchv1.TaskReport{Stage: table, TaskId: rapid.SampledFrom([]string{"1", "2", checkTask}).Draw(t, "task"), AttemptId: text("attempt"), Worker: text("worker"),
			Release: uint32(number("release")), PlanSha256: plan, ReleaseTime: moment("released"), StartTime: moment("begun"), EndTime: moment("ended")}
		switch kind % 3 {
		case 0:
			r.Outcome = &dispatchv1.TaskReport_Started{Started: &dispatchv1.TaskStarted{}}
		case 1:
			r.Outcome = &dispatchv1.TaskReport_Failed{Failed: &dispatchv1.TaskFailed{Class: class, Message: text("message")}}
		default:
			r.Outcome = &dispatchv1.TaskReport_Succeeded{Succeeded: &dispatchv1.TaskSucceeded{OutputPath: text("output"), RowsIn: number("rows"), Notices: []string{text("notice")},
				CheckFailures: []*dispatchv1.CheckFailure{{Check: text("check"), Severity: text("severity"), Rows: 1}}}}
		}
		e.Kind = &dispatchv1.RunEvent_Task{Task: r}
	}
	return e
}

// A log folds to the same state with and without a checkpoint on the way, wherever that was.
func TestCheckpointedFold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		log := []*dispatchv1.RunEvent{
			{Kind: &dispatchv1.RunEvent_Submitted{Submitted: &dispatchv1.RunSubmitted{Flow: "daily", RequestId: "r", TraceId: "t", SpanId: "s", FullRefresh: true}}},
			{Kind: &dispatchv1.RunEvent_Started{Started: &dispatchv1.RunStarted{Epoch: 3, Stages: graph, Pinned: map[string]int64{"bronze.a": 1}, Notices: []string{"n"}}}},
		}
		for n := range rapid.IntRange(0, 60).Draw(t, "events") {
			log = append(log, anyEvent(t, n))
		}
		at := rapid.IntRange(0, len(log)).Draw(t, "checkpoint")
		whole, parts := NewState("01J00000000000000000000000"), NewState("01J00000000000000000000000")
		for i, e := range log {
			if i == at {
				parts = reread(t, parts)
			}
			for _, s := range []*State{whole, parts} {
				if err := s.Apply(proto.CloneOf(e)); err != nil {
					t.Fatal(err)
				}
				s.Seq, s.Messages = uint64(10*i+1), s.Messages+1
			}
		}
		if d := difference(whole, reread(t, parts)); d != "" {
			t.Fatalf("with a checkpoint after %d of %d events:\n%s", at, len(log), d)
		}
		if d := cmp.Diff(Next(whole), Next(parts)); d != "" {
			t.Fatalf("other actions follow:\n%s", d)
		}
	})
}

// filled sets every field that it can reach to something that is not zero.
func filled(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(1_800_000_000, 7).UTC()
		return
	case *time.Duration:
		*x = time.Minute
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(3)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key)
		filled(value)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i))
			}
		}
	}
}

// A field that somebody adds to the state is lost at a takeover unless the checkpoint has it too.
func TestCheckpointHasEveryField(t *testing.T) {
	t.Parallel()
	s := NewState("")
	filled(reflect.ValueOf(s).Elem())
	st := s.Stages[0]
	s.stages[st.Table], st.tasks = st, map[string]*Task{st.Tasks[0].ID: st.Tasks[0]}
	if s.Messages == 0 || st.Former[0].Tries[0].Ended.IsZero() || st.Check.Done.GetRowsIn() == 0 {
		t.Fatal("not every field was filled")
	}
	if d := difference(s, reread(t, s)); d != "" {
		t.Error(d)
	}
}

func TestCheckpointThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := NewState("RUN")
	s.Notices = []string{"something that takes a few bytes"}
	data, err := encodeCheckpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string][]byte{"empty": {}, "cut off": data[:len(data)-3], "foreign": []byte("what is this"), "newer": newer(t, data)} {
		if _, _, err := decodeCheckpoint(other, "RUN"); !errors.Is(err, errCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range data {
		damaged := append([]byte{}, data...)
		damaged[i] ^= 0x10
		again, _, err := decodeCheckpoint(damaged, "RUN")
		if err == nil && difference(s, again) != "" {
			t.Errorf("a flipped bit at byte %d is read as something else", i)
		}
	}
	if _, _, err := decodeCheckpoint(data, "OTHER"); !errors.Is(err, errCheckpoint) {
		t.Errorf("the checkpoint of another run: %v", err)
	}
}

// newer is a checkpoint as a later version of the program may write it.
func newer(t *testing.T, data []byte) []byte {
	t.Helper()
	var c dispatchv1.Checkpoint
	if err := proto.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	c.Version++
	data, err := proto.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
