package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/pipeline"
)

// States keeps the state of each flow.
type States interface {
	// FlowState gives a flow's state and its revision, 0 where there is none yet.
	FlowState(ctx context.Context, flow string) (*dispatchv1.FlowState, uint64, error)
	// MoveFlowState replaces the state that has this revision; bus.ErrConflict means that it moved meanwhile.
	MoveFlowState(ctx context.Context, flow string, next *dispatchv1.FlowState, revision uint64) (uint64, error)
	FlowsWithState(ctx context.Context) ([]string, error)
}

// Read gives the state of a flow and its revision.
func Read(ctx context.Context, states States, flow string) (State, uint64, error) {
	m, revision, err := states.FlowState(ctx, flow)
	if err != nil {
		return State{}, 0, fmt.Errorf("read when flow %s ran: %w", flow, err)
	}
	st := State{
		Schedule: pipeline.Schedule{Cron: m.GetCron(), TimeZone: m.GetTimeZone(), StartDate: m.GetStartDate(), EndDate: m.GetEndDate()},
		Through:  moment(m.GetThrough()), Paused: m.GetPaused(), Files: m.GetFiles(), After: m.GetAfter(), Landed: moment(m.GetLanded()),
	}
	for _, o := range m.GetWaiting() {
		st.Waiting = append(st.Waiting, occurrence(o))
	}
	for _, o := range m.GetSubmitting() {
		st.Submitting = append(st.Submitting, occurrence(o))
	}
	return st, revision, nil
}

// Move changes the state of a flow, whoever else changes it at the same time.
func Move(ctx context.Context, states States, flow string, change func(State) State) error {
	for {
		st, revision, err := Read(ctx, states, flow)
		if err != nil {
			return err
		}
		if err = keep(ctx, states, flow, st, change(st), revision); !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
}

// keep stores a state where it is another one than before.
func keep(ctx context.Context, states States, flow string, before, st State, revision uint64) error {
	if proto.Equal(before.message(), st.message()) {
		return nil
	}
	if _, err := states.MoveFlowState(ctx, flow, st.message(), revision); err != nil {
		return fmt.Errorf("remember when flow %s ran: %w", flow, err)
	}
	return nil
}

// message is a state as it is kept.
func (st State) message() *dispatchv1.FlowState {
	m := &dispatchv1.FlowState{
		Cron: st.Schedule.Cron, TimeZone: st.Schedule.TimeZone, StartDate: st.Schedule.StartDate, EndDate: st.Schedule.EndDate,
		Through: timestamp(st.Through), Paused: st.Paused, Files: st.Files, After: st.After, Landed: timestamp(st.Landed),
	}
	for _, o := range st.Waiting {
		m.Waiting = append(m.Waiting, o.message())
	}
	for _, o := range st.Submitting {
		m.Submitting = append(m.Submitting, o.message())
	}
	return m
}

func occurrence(m *dispatchv1.Occurrence) Occurrence {
	return Occurrence{Key: m.GetKey(), Nominal: moment(m.GetNominalTime()), Scheduled: m.GetScheduled(), Note: m.GetNote()}
}

func (o Occurrence) message() *dispatchv1.Occurrence {
	return &dispatchv1.Occurrence{Key: o.Key, NominalTime: timestamp(o.Nominal), Scheduled: o.Scheduled, Note: o.Note}
}

func moment(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
