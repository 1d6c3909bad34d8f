package backfill

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// WatchBackfills sends the backfills that are not over, then each that changes.
func (h *Handler) WatchBackfills(_ *shoplakev1.WatchBackfillsRequest, stream grpc.ServerStreamingServer[shoplakev1.WatchBackfillsResponse]) error {
	group, ctx := errgroup.WithContext(stream.Context())
	// How far a backfill's run is stands in the run alone: a step says that some run got on, or that none has for a while.
	steps := make(chan bool)
	group.Go(func() error {
		return h.Runs.WatchAll(ctx, func(runs []*shoplakev1.Run) error {
			select {
			case steps <- len(runs) > 0:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	group.Go(func() error { return h.tell(ctx, steps, stream.Send) })
	return group.Wait()
}

// tell sends what is not as it was told before, and at each step that is none what there is of it, be it nothing.
func (h *Handler) tell(ctx context.Context, steps <-chan bool, send func(*shoplakev1.WatchBackfillsResponse) error) error {
	moved, err := h.Bus.WatchBackfills(ctx)
	if err != nil {
		return err
	}
	ids, _, err := h.Bus.Backfills(ctx)
	if err != nil {
		return err
	}
	slices.Reverse(ids)
	told := map[string]*shoplakev1.Backfill{} // those that are not over
	for first, must := true, true; ; first = false {
		response := &shoplakev1.WatchBackfillsResponse{}
		for _, id := range ids {
			b, err := h.get(ctx, id)
			if err != nil {
				return err
			}
			over := b.GetEndTime() != nil
			if first && over || proto.Equal(b, told[id]) {
				continue
			}
			response.Backfills = append(response.Backfills, b)
			if told[id] = b; over {
				delete(told, id)
			}
		}
		if must || len(response.GetBackfills()) > 0 {
			if err := send(response); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id, ok := <-moved:
			if !ok {
				return errors.New("watch backfills: the stream of their records ended: try again")
			}
			ids, must = []string{id}, false
		case step := <-steps:
			if ids, must = nil, !step; step {
				ids = slices.Sorted(maps.Keys(told))
			}
		}
	}
}
