package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// epochSetting holds what is added to a lease's revision to make its epoch.
const epochSetting = "epoch-base"

// epochBase gives what is added to a lease's revision, and the setting's own revision.
func (b *Bus) epochBase(ctx context.Context) (base, revision uint64, err error) {
	value, revision, err := b.Setting(ctx, epochSetting)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if base, err = strconv.ParseUint(string(value), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("read setting %s: %w: it must be a number", epochSetting, err)
	}
	return base, revision, nil
}

// RaiseEpochs sees to it that the epochs of elections to come are higher than seen, and tells whether they had to be raised.
// seen must have been read before this is called: an election meanwhile may give a higher one.
func (b *Bus) RaiseEpochs(ctx context.Context, seen uint64) (raised bool, err error) {
	what := fmt.Sprintf("raise the epochs above %d", seen)
	for {
		base, revision, err := b.epochBase(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
		last, err := b.lastSequence(ctx, kvStream(leaseBucket))
		if err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
		if seen <= base+last {
			return false, nil
		}
		_, err = b.CompareAndSetSetting(ctx, epochSetting, []byte(strconv.FormatUint(seen, 10)), revision)
		if errors.Is(err, ErrConflict) {
			continue
		}
		return err == nil, err
	}
}

// lastSequence is the sequence of the last message that a stream ever had.
func (b *Bus) lastSequence(ctx context.Context, stream string) (last uint64, err error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	err = b.request(ctx, "look at stream "+stream, func(ctx context.Context) error {
		info, err := s.Info(ctx)
		if err == nil {
			last = info.State.LastSeq
		}
		return err
	})
	return last, err
}
