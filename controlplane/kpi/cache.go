package kpi

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

const (
	// cachedAnswers is how many answers are kept, and cachedSize how large one may be: many open pages ask the same few.
	cachedAnswers = 256
	cachedSize    = 128 << 10
	// answerTime bounds an answer that several requests wait for.
	answerTime = 60 * time.Second
)

// answers keeps answers to questions about what is published now. Another published state has other keys, so that old
// answers fall out; equal questions at the same time are computed once.
type answers struct {
	kept   *lru.Cache[string, *shoplakev1.QueryKpiResponse]
	flight singleflight.Group
}

func newAnswers() *answers {
	kept, err := lru.New[string, *shoplakev1.QueryKpiResponse](cachedAnswers)
	if err != nil {
		panic(err) // only a size below 1 is refused
	}
	return &answers{kept: kept}
}

// get returns the answer to a request about a published state. It is shared: nobody may change it.
func (a *answers) get(ctx context.Context, version uint64, digest string, r *shoplakev1.QueryKpiRequest, compute func(context.Context) (*shoplakev1.QueryKpiResponse, error)) (*shoplakev1.QueryKpiResponse, error) {
	if r.GetFormat() == shoplakev1.RowFormat_ROW_FORMAT_ARROW || r.GetAsOf() != nil {
		return compute(ctx) // whole results of programs, and history: asked once
	}
	question, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write down the question: %w", err)
	}
	key := fmt.Sprintf("%d/%s/%s", version, digest, question)
	if answer, ok := a.kept.Get(key); ok {
		return answer, nil
	}
	found := a.flight.DoChan(key, func() (any, error) {
		// Others may wait for it: the one who asked first must not end it by going away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		answer, err := compute(ctx)
		if err == nil && proto.Size(answer) <= cachedSize {
			a.kept.Add(key, answer)
		}
		return answer, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case f := <-found:
		if f.Err != nil {
			return nil, f.Err
		}
		return f.Val.(*shoplakev1.QueryKpiResponse), nil
	}
}
