package bus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoplake/shoplake/internal/failpoint"
)

// RunIndex tells runs apart by names alone, so that nobody has to read the logs of those that have ended. It is never wrong in
// the dangerous direction: where a mark is missing a run is looked at once more.
type RunIndex struct {
	// Logs says how many messages the log of each run has.
	Logs map[string]uint64
	// Ended says how many messages the logs of runs had that have ended. A log that has fewer lost its end in a power cut; one that
	// has more was reopened.
	Ended map[string]uint64
	// Archived says the same of the ends that the lake's history of runs has.
	Archived map[string]uint64
}

// Subjects of the index: $KV.BUCKET.ended.RUN.MESSAGES and $KV.BUCKET.archived.RUN.MESSAGES. The names are all that counts.
const (
	endedMark    = "$KV." + runIndexBucket + ".ended."
	archivedMark = "$KV." + runIndexBucket + ".archived."
)

// RunIndex reads the index: two requests, however many runs there are.
func (b *Bus) RunIndex(ctx context.Context) (*RunIndex, error) {
	index := &RunIndex{Logs: map[string]uint64{}, Ended: map[string]uint64{}, Archived: map[string]uint64{}}
	// The marks first: a run that ends meanwhile counts as open, and is looked at.
	marks, err := b.subjects(ctx, kvStream(runIndexBucket), "$KV."+runIndexBucket+".>")
	if err != nil {
		return nil, fmt.Errorf("read the index of runs: %w", err)
	}
	for subject := range marks {
		for mark, noted := range map[string]map[string]uint64{endedMark: index.Ended, archivedMark: index.Archived} {
			rest, ok := strings.CutPrefix(subject, mark)
			id, messages, _ := strings.Cut(rest, ".")
			if n, err := strconv.ParseUint(messages, 10, 64); ok && err == nil {
				noted[id] = max(noted[id], n)
			}
		}
	}
	logs, err := b.subjects(ctx, runStream, runSubject+"*")
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	for subject, messages := range logs {
		index.Logs[strings.TrimPrefix(subject, runSubject)] = messages
	}
	return index, nil
}

// HasEnded says that a run's log is marked as ended, whole, and was not continued.
func (i *RunIndex) HasEnded(runID string) bool {
	n, ok := i.Ended[runID]
	return ok && i.Logs[runID] == n
}

// IsArchived says that a run has ended, and that the lake's history of runs has that end.
func (i *RunIndex) IsArchived(runID string) bool {
	return i.HasEnded(runID) && i.Archived[runID] == i.Ended[runID]
}

// Open are the runs that have not ended as far as the index knows, the oldest first.
func (i *RunIndex) Open() []string {
	var ids []string
	for id := range i.Logs {
		if !i.HasEnded(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// MarkEnded notes that a run has ended, after so many messages of its log.
func (b *Bus) MarkEnded(ctx context.Context, runID string, messages uint64) error {
	return failpoint.Around(ctx, failpoint.MarkEnded, func() error {
		return b.mark(ctx, "note that run "+runID+" has ended", runID, endedMark, messages)
	})
}

// MarkArchived notes that the lake's history of runs has a run as it was after so many messages of its log.
func (b *Bus) MarkArchived(ctx context.Context, runID string, messages uint64) error {
	return b.mark(ctx, "note that run "+runID+" is archived", runID, archivedMark, messages)
}

func (b *Bus) mark(ctx context.Context, what, runID, mark string, messages uint64) error {
	if err := token("run id", runID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return b.request(ctx, what, func(ctx context.Context) error {
		_, err := b.js.Publish(ctx, mark+runID+"."+strconv.FormatUint(messages, 10), nil)
		return err
	})
}

// UnmarkEnded takes back that a run has ended.
func (b *Bus) UnmarkEnded(ctx context.Context, runID string) error {
	return b.forget(ctx, "note that run "+runID+" is open", runID, kvStream(runIndexBucket), endedMark+runID+".*")
}

// UnmarkArchived takes back that the lake's history of runs has a run.
func (b *Bus) UnmarkArchived(ctx context.Context, runID string) error {
	return b.forget(ctx, "note that run "+runID+" is not archived", runID, kvStream(runIndexBucket), archivedMark+runID+".*")
}

// ForgetRun removes a run's log, its checkpoint and its marks; it may be called again where it failed.
func (b *Bus) ForgetRun(ctx context.Context, runID string) error {
	what := "remove the log of run " + runID
	// The marks last: what is left of a run is found by them.
	if err := b.forget(ctx, what, runID, runStream, runSubject+runID); err != nil {
		return err
	}
	if err := b.RemoveCheckpoint(ctx, runID); err != nil {
		return err
	}
	if err := b.forget(ctx, what, runID, kvStream(runIndexBucket), endedMark+runID+".*"); err != nil {
		return err
	}
	return b.forget(ctx, what, runID, kvStream(runIndexBucket), archivedMark+runID+".*")
}

func (b *Bus) forget(ctx context.Context, what, runID, stream, subject string) error {
	if err := token("run id", runID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return b.purge(ctx, what, stream, subject)
}

// subjects are those of a stream that match a filter, with the number of messages of each.
func (b *Bus) subjects(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	var subjects map[string]uint64
	err = b.request(ctx, "list the subjects of stream "+stream, func(ctx context.Context) error {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err == nil {
			subjects = info.State.Subjects
		}
		return err
	})
	return subjects, err
}
