// Package failpoint makes a process fail at a named step of the protocol: that is how tests see that every step may be
// killed and run again. It is off unless the environment variable SHOPLAKE_FAILPOINTS says otherwise:
//
//	SHOPLAKE_FAILPOINTS=commit.catalog.before=kill,report.succeeded.after=freeze@3,write.object.before=enospc@2-20
//
// Each entry is a point, an action, and at which passages of the point it is taken (the first, where nothing is said). A
// point lies right before or right after a step.
package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms points.
const Variable = "SHOPLAKE_FAILPOINTS"

// Step is a step of the protocol.
type Step string

// The steps, in the order of a run.
const (
	TakeLease    Step = "lease.take"
	RenewLease   Step = "lease.renew"
	ClaimRequest Step = "request.claim"
	CreateTable  Step = "create.table"
	// WriteObject writes a plan, or a list of files, into the lake.
	WriteObject     Step = "write.object"
	ReleaseTask     Step = "release.task"
	ReportStarted   Step = "report.started"
	WriteParquet    Step = "write.parquet"
	ReportSucceeded Step = "report.succeeded"
	ReportFailed    Step = "report.failed"
	AckTask         Step = "ack.task"
	AckReport       Step = "ack.report"
	// FenceTable writes a new coordinator's epoch into a table.
	FenceTable Step = "fence.table"
	// CommitCatalog moves a table to its next metadata, by compare-and-set.
	CommitCatalog Step = "commit.catalog"
	// CommitTable commits one of the tables of a stage.
	CommitTable Step = "commit.table"
	// RemoveFile removes a file that no metadata names any more.
	RemoveFile    Step = "remove.file"
	MovePublished Step = "move.published"
	// KeepCheckpoint writes down what a run's log folds to.
	KeepCheckpoint Step = "keep.checkpoint"
	// PurgeTasks takes the waiting tasks of a run that was cancelled, or failed, out of the queue; TellCancel tells workers of it.
	PurgeTasks Step = "purge.tasks"
	TellCancel Step = "tell.cancel"
	// MarkEnded notes that a run has ended, and nobody has to read its log any more.
	MarkEnded Step = "mark.ended"
)

// Append is the step that appends an event of a kind to a run's log; kind is the name of the event's field in RunEvent.
func Append(kind string) Step { return Step("append." + kind) }

// appended are the kinds of events, in the order of a run.
var appended = []string{"submitted", "started", "stage_planned", "stage_up_to_date", "task", "stage_checking", "stage_committing", "stage_committed",
	"stage_reset", "stage_failed", "stage_previewed", "cancel_requested", "suspended", "resumed", "reopened", "publishing", "finished"}

// Points are the names of all points.
func Points() []string {
	steps := []Step{TakeLease, RenewLease, ClaimRequest, CreateTable, WriteObject, ReleaseTask, ReportStarted, WriteParquet, ReportSucceeded,
		ReportFailed, AckTask, AckReport, FenceTable, CommitCatalog, CommitTable, RemoveFile, MovePublished, KeepCheckpoint, PurgeTasks,
		TellCancel, MarkEnded}
	for _, kind := range appended {
		steps = append(steps, Append(kind))
	}
	points := make([]string, 0, 2*len(steps))
	for _, s := range steps {
		points = append(points, string(s)+before, string(s)+after)
	}
	return points
}

const (
	before = ".before"
	after  = ".after"
)

// ErrInjected is what a step fails with where a test asks for an error.
var ErrInjected = errors.New("a failpoint asked for this error")

// Around does a step, and passes the points before and after it. Where the point after it fails, the step was done though an
// error says otherwise: that is an outcome which a caller must stand.
func Around(ctx context.Context, step Step, do func() error) error {
	return fromEnvironment.around(ctx, step, do)
}

// Action is what happens at a point.
type action string

const (
	// kill ends the process as a power cut would.
	kill action = "kill"
	// freeze stops it until somebody sends SIGCONT.
	freeze action = "freeze"
	// fail returns ErrInjected.
	fail action = "error"
	// enospc returns the error of a full disk.
	enospc action = "enospc"
)

// armed is what happens at one point.
type armed struct {
	action      action
	first, last int64
	passed      atomic.Int64
}

// set holds what is armed, by point.
type set map[string]*armed

// fromEnvironment is nil, and costs nothing, where nothing is armed.
var fromEnvironment = mustParse(os.Getenv(Variable))

func mustParse(text string) set {
	s, err := parse(text)
	if err != nil {
		// Somebody who arms points tests the program: to go on without them would show nothing.
		panic(fmt.Sprintf("%s: %v", Variable, err))
	}
	return s
}

func parse(text string) (set, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	s, known := set{}, Points()
	for entry := range strings.SplitSeq(text, ",") {
		point, what, ok := strings.Cut(strings.TrimSpace(entry), "=")
		if !ok {
			return nil, fmt.Errorf("%q is not point=action[@passage]", entry)
		}
		if !slices.Contains(known, point) {
			return nil, fmt.Errorf("there is no point %q", point)
		}
		name, passages, some := strings.Cut(what, "@")
		a := &armed{action: action(name), first: 1, last: 1}
		if !slices.Contains([]action{kill, freeze, fail, enospc}, a.action) {
			return nil, fmt.Errorf("%s: there is no action %q: kill, freeze, error or enospc", point, name)
		}
		if some {
			first, last, span := strings.Cut(passages, "-")
			if !span {
				last = first
			}
			var errs [2]error
			a.first, errs[0] = strconv.ParseInt(first, 10, 64)
			a.last, errs[1] = strconv.ParseInt(last, 10, 64)
			if err := errors.Join(errs[:]...); err != nil || a.first < 1 || a.last < a.first {
				return nil, fmt.Errorf("%s: %q are no passages: give one, or the first and the last, from 1", point, passages)
			}
		}
		s[point] = a
	}
	return s, nil
}

func (s set) around(ctx context.Context, step Step, do func() error) error {
	if s == nil {
		return do()
	}
	if err := s.pass(ctx, string(step)+before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.pass(ctx, string(step)+after)
}

func (s set) pass(ctx context.Context, point string) error {
	a := s[point]
	if a == nil {
		return nil
	}
	if n := a.passed.Add(1); n < a.first || n > a.last {
		return nil
	}
	// Not through the logger: the process may have no time for it.
	fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", point, a.action)
	switch a.action {
	case kill:
		die()
	case freeze:
		stop()
		return ctx.Err()
	case enospc:
		return fmt.Errorf("%s: %w: %w", point, ErrInjected, syscall.ENOSPC)
	}
	return fmt.Errorf("%s: %w", point, ErrInjected)
}
