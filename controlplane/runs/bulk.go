package runs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// ResumeRun lets a run that failed or was cancelled go on.
func (h *Handler) ResumeRun(ctx context.Context, r *shoplakev1.ResumeRunRequest) (*shoplakev1.Run, error) {
	id := strings.TrimPrefix(r.GetName(), "runs/")
	if err := h.Runs.Resume(ctx, id, h.whereLeft(ctx)); err != nil {
		return nil, err
	}
	return h.run(ctx, id)
}

// whereLeft objects to resuming a run whose tables are not where it left them.
func (h *Handler) whereLeft(ctx context.Context) func(*State) error {
	return func(s *State) error {
		if !s.LaidOut() {
			return nil
		}
		return h.Coordinator.whereLeft(ctx, gatherFacts(s, ""))
	}
}

// picked is a run that a filter picked.
type picked struct {
	id     string
	run    *shoplakev1.Run
	tables map[string]bool
	// refusal is why it can't be done; nil where it can, as far as is known.
	refusal error
}

func (p picked) refused(err error) *shoplakev1.RefusedRun {
	return &shoplakev1.RefusedRun{Run: p.run.GetName(), State: p.run.GetState(), Reason: err.Error()}
}

// pick lists the runs that a filter picks and that are concerned, the newest first. object says why one can't be done.
func (h *Handler) pick(ctx context.Context, filter string, concerned func(*State) bool, object func(*State) error) ([]picked, error) {
	if strings.TrimSpace(filter) == "" {
		return nil, fmt.Errorf("%w: it is empty, which would pick every run: say which, as in state = FAILED", ErrFilter)
	}
	match, err := parseFilter(filter)
	if err != nil {
		return nil, err
	}
	var all []picked
	err = h.Runs.List(ctx, "", func(s *State) bool {
		if run := s.Run(); concerned(s) && match(run) {
			all = append(all, picked{s.RunID, run, tableSet(tables(s)), object(s)})
		}
		return ctx.Err() == nil
	})
	return all, errors.Join(err, ctx.Err())
}

// CancelRuns asks every run that a filter picks to stop. Those that have ended are passed over.
func (h *Handler) CancelRuns(ctx context.Context, r *shoplakev1.CancelRunsRequest) (*shoplakev1.CancelRunsResponse, error) {
	open := func(s *State) bool {
		return !s.Terminal() && s.Phase != shoplakev1.RunState_RUN_STATE_CANCELLING
	}
	all, err := h.pick(ctx, r.GetFilter(), open, (*State).cancellable)
	if err != nil {
		return nil, err
	}
	response := &shoplakev1.CancelRunsResponse{}
	for _, p := range all {
		if p.refusal == nil && !r.GetValidateOnly() {
			if p.refusal = h.Runs.Cancel(ctx, p.id); p.refusal == nil {
				p.run, p.refusal = h.run(ctx, p.id)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if p.refusal != nil {
			response.Refused = append(response.Refused, p.refused(p.refusal))
			continue
		}
		response.Runs = append(response.Runs, p.run)
	}
	return response, nil
}

// ResumeRuns resumes every run that a filter picks and that failed or was cancelled. Of several that write the same tables only
// the newest can be: when it is done the tables are not any more where the others left them.
func (h *Handler) ResumeRuns(ctx context.Context, r *shoplakev1.ResumeRunsRequest) (*shoplakev1.ResumeRunsResponse, error) {
	ended := func(s *State) bool {
		return s.Phase == shoplakev1.RunState_RUN_STATE_FAILED || s.Phase == shoplakev1.RunState_RUN_STATE_CANCELLED
	}
	all, err := h.pick(ctx, r.GetFilter(), ended, (*State).resumable)
	if err != nil {
		return nil, err
	}
	writes := map[string]string{} // who goes on and writes a table
	for i := range all {
		p := &all[i]
		if p.refusal == nil {
			p.refusal = newerWrites(*p, writes)
		}
		if p.refusal == nil {
			p.refusal = h.Runs.View(ctx, p.id, h.whereLeft(ctx))
		}
		if p.refusal == nil {
			for table := range p.tables {
				writes[table] = p.id
			}
		}
	}
	if !r.GetValidateOnly() {
		for i := range slices.Backward(all) { // the older first, so that those that had not begun wait for those that had
			if p := &all[i]; p.refusal == nil {
				p.refusal = h.resume(ctx, p)
			}
		}
	}
	response := &shoplakev1.ResumeRunsResponse{}
	for _, p := range all {
		if p.refusal != nil {
			response.Refused = append(response.Refused, p.refused(p.refusal))
			continue
		}
		response.Runs = append(response.Runs, p.run)
	}
	return response, ctx.Err()
}

// newerWrites refuses a run where a newer one that goes on writes one of its tables.
func newerWrites(p picked, writes map[string]string) error {
	for table := range p.tables {
		if by := writes[table]; by != "" && table != opsTables {
			return fmt.Errorf("%w: run %s is newer, writes %s too, and is resumed instead", ErrNotResumable, by, table)
		}
	}
	return nil
}

func (h *Handler) resume(ctx context.Context, p *picked) error {
	err := h.Runs.Resume(ctx, p.id, h.whereLeft(ctx))
	if err == nil {
		p.run, err = h.run(ctx, p.id)
	}
	return err
}
