package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// FlowState gives what is remembered of when a flow runs, and its revision; where nothing is, an empty state and revision 0.
func (b *Bus) FlowState(ctx context.Context, flow string) (*dispatchv1.FlowState, uint64, error) {
	what := "read the state of flow " + flow
	if err := token("flow", flow); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	s, err := b.stream(ctx, kvStream(scheduleBucket))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	msg, found, err := b.last(ctx, s, keySubject(scheduleBucket, flow))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	state := new(dispatchv1.FlowState)
	if !found {
		return state, 0, nil
	}
	if err := decode("the state of flow "+flow, msg.Data, state); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	return state, msg.Sequence, nil
}

// MoveFlowState replaces the state that has this revision (0: there is none yet), and gives the new revision. ErrConflict means
// that it moved meanwhile.
func (b *Bus) MoveFlowState(ctx context.Context, flow string, next *dispatchv1.FlowState, revision uint64) (uint64, error) {
	what := fmt.Sprintf("move the state of flow %s after revision %d", flow, revision)
	if err := token("flow", flow); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	data, err := encode("the state of flow "+flow, next, func(s *dispatchv1.FlowState) { s.ProtocolVersion = Protocol })
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return b.publishAfter(ctx, what, kvStream(scheduleBucket), keySubject(scheduleBucket, flow), revision, data, 0)
}

// FlowsWithState lists the flows of which a state is remembered.
func (b *Bus) FlowsWithState(ctx context.Context) ([]string, error) {
	const prefix = "$KV." + scheduleBucket + "."
	s, err := b.stream(ctx, kvStream(scheduleBucket))
	if err != nil {
		return nil, fmt.Errorf("list the states of flows: %w", err)
	}
	var flows []string
	err = b.request(ctx, "list the states of flows", func(ctx context.Context) error {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
		if err != nil {
			return err
		}
		flows = flows[:0]
		for subject := range info.State.Subjects {
			flows = append(flows, strings.TrimPrefix(subject, prefix))
		}
		return nil
	})
	return flows, err
}
