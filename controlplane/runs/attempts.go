package runs

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// shownFailures is how many failed attempts a stage shows: it is sent with each change.
	shownFailures = 10
	// shownMessage is how many letters of an error it shows.
	shownMessage = 1000
)

// silence is said of an attempt whose end nobody heard of.
const silence = "nothing was heard of it any more: its worker was stopped, killed or cut off, and another attempt was made"

// failure is why an attempt came to nothing, or nil. An attempt without an end came to nothing where a later one began.
func (t *Task) failure(i int, stage string) *Failure {
	a := t.Tries[i]
	switch {
	case a.Error != "" || a.Class != dispatchv1.ErrorClass_ERROR_CLASS_UNSPECIFIED:
		return &Failure{Class: a.Class, Stage: stage, Message: a.Error}
	case a.Ended.IsZero() && slices.ContainsFunc(t.Tries, func(b *Attempt) bool { return b.Started.After(a.Started) }):
		return &Failure{Class: dispatchv1.ErrorClass_ERROR_CLASS_TRANSIENT, Stage: stage, Message: silence}
	}
	return nil
}

func (t *Task) present(i int, failure *Failure) *shoplakev1.Attempt {
	a := t.Tries[i]
	return &shoplakev1.Attempt{
		Task: t.ID, Worker: a.Worker, Release: a.Release, ReleaseTime: timestamp(a.Released), StartTime: timestamp(a.Started), EndTime: timestamp(a.Ended),
		Error: failure.present(),
	}
}

// presentTries are all attempts at a task.
func (t *Task) presentTries(stage string) []*shoplakev1.Attempt {
	var list []*shoplakev1.Attempt
	for i := range t.Tries {
		list = append(list, t.present(i, t.failure(i, stage)))
	}
	return list
}

// failures are the attempts at a stage's tasks that came to nothing latest, and how many there are in all.
func (st *Stage) failures() (latest []*shoplakev1.Attempt, all int) {
	for _, t := range st.all() {
		for i := range t.Tries {
			if f := t.failure(i, st.Table); f != nil {
				f.Message = shorten(f.Message, shownMessage)
				latest = append(latest, t.present(i, f))
			}
		}
	}
	slices.SortStableFunc(latest, func(a, b *shoplakev1.Attempt) int {
		return cmp.Or(lastHeard(a).Compare(lastHeard(b)), cmp.Compare(a.Task, b.Task))
	})
	return latest[max(0, len(latest)-shownFailures):], len(latest)
}

// noticesOf are what a result says that a person should know: the worker's own words, and checks of severity warn.
func noticesOf(table string, done *dispatchv1.TaskSucceeded) []string {
	notices := done.GetNotices()
	for _, f := range done.GetCheckFailures() {
		if f.GetSeverity() != "error" {
			notices = append(notices, fmt.Sprintf("%s: check %s found %d rows, for example %s", table, f.GetCheck(), f.GetRows(), f.GetSample()))
		}
	}
	return notices
}

func lastHeard(a *shoplakev1.Attempt) time.Time {
	if a.GetEndTime() != nil {
		return a.GetEndTime().AsTime()
	}
	return a.GetStartTime().AsTime()
}

// shorten cuts a text after so many letters.
func shorten(s string, letters int) string {
	if utf8.RuneCountInString(s) <= letters {
		return s
	}
	return string([]rune(s)[:letters-1]) + "…"
}

// presentUnderWay tells how many tasks run now, since when on the average, and since when the longest waiting one waits.
func (st *Stage) presentUnderWay(v *shoplakev1.Stage) {
	if st.Terminal() {
		return
	}
	var oldest, first time.Time
	var later time.Duration // the sum of how much later than the first one the others began
	for _, t := range st.all() {
		switch {
		case t.State == shoplakev1.TaskState_TASK_STATE_RUNNING && v.TasksRunning == 0:
			v.TasksRunning, first = 1, t.StartedAt
		case t.State == shoplakev1.TaskState_TASK_STATE_RUNNING:
			v.TasksRunning++
			later += t.StartedAt.Sub(first)
		case t.State == queued && (oldest.IsZero() || t.QueuedAt.Before(oldest)):
			oldest = t.QueuedAt
		}
	}
	v.QueuedSince = timestamp(oldest)
	if v.TasksRunning > 0 {
		v.RunningSince = timestamp(first.Add(later / time.Duration(v.TasksRunning)))
	}
}
