package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	"github.com/shoplake/shoplake/internal/failpoint"
)

const (
	reportConsumer = "coordinator"
	// reportAckWait is after how long a report that the coordinator took is offered to it again.
	reportAckWait = time.Minute
	// reportBatch is how many reports are fetched ahead.
	reportBatch = 256
)

// Report tells the coordinator what became of an attempt. The same outcome of the same attempt is told once. Texts that are
// not UTF-8 or too long are mended: a report that cannot be sent would lose the outcome.
func (b *Bus) Report(ctx context.Context, r *dispatchv1.TaskReport) error {
	what := fmt.Sprintf("report attempt %s of task %s of %s in run %s", r.GetAttemptId(), r.GetTaskId(), r.GetStage(), r.GetRunId())
	if err := token("run id", r.GetRunId()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var outcome string
	var step failpoint.Step
	switch r.GetOutcome().(type) {
	case *dispatchv1.TaskReport_Started:
		outcome, step = "started", failpoint.ReportStarted
	case *dispatchv1.TaskReport_Succeeded:
		outcome, step = "succeeded", failpoint.ReportSucceeded
	case *dispatchv1.TaskReport_Failed:
		outcome, step = "failed", failpoint.ReportFailed
	default:
		return fmt.Errorf("%s: it has no outcome", what)
	}
	r = mended(r)
	data, err := encode("the report of attempt "+r.GetAttemptId(), r, func(r *dispatchv1.TaskReport) { r.ProtocolVersion = Protocol })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	id := fmt.Sprintf("%s/%s/%s", r.GetRunId(), r.GetAttemptId(), outcome)
	return failpoint.Around(ctx, step, func() error { return b.publish(ctx, what, reportSubject+r.GetRunId(), id, nil, data) })
}

// mended is a copy of a report whose texts can be sent, within MaxReport.
func mended(r *dispatchv1.TaskReport) *dispatchv1.TaskReport {
	m := proto.CloneOf(r)
	texts := []*string{}
	if failed := m.GetFailed(); failed != nil {
		texts = append(texts, &failed.Message)
	}
	for _, failure := range m.GetSucceeded().GetCheckFailures() {
		texts = append(texts, &failure.Sample)
	}
	for i := range m.GetSucceeded().GetNotices() {
		texts = append(texts, &m.GetSucceeded().Notices[i])
	}
	for _, text := range texts {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
	}
	for limit := MaxReport / 2; proto.Size(m) > MaxReport && limit > 0; limit /= 2 {
		for _, text := range texts {
			if len(*text) > limit {
				*text = strings.ToValidUTF8((*text)[:limit], "") + "..."
			}
		}
	}
	return m
}

// ReportDelivery is a report that stays in the stream until it is acknowledged.
type ReportDelivery struct {
	Report *dispatchv1.TaskReport
	// Ack removes the report: call it when the run's log holds what it says.
	Ack func() error
}

// Reports sends reports, first those that a former coordinator left unacknowledged, until ctx ends. Only the coordinator
// calls it: a second call, of whatever process, closes the channel of the first. A report may come twice.
func (b *Bus) Reports(ctx context.Context) (<-chan ReportDelivery, error) {
	// A new consumer is given everything that the stream still holds, without waiting for what the former one was given.
	err := b.request(ctx, "take over reports", func(ctx context.Context) error {
		err := b.js.DeleteConsumer(ctx, reportStream, reportConsumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	consumer, err := b.reportConsumer(ctx)
	if err != nil {
		return nil, err
	}
	generation := consumer.CachedInfo().Created
	// Those that come while the coordinator works can be taken together.
	out := make(chan ReportDelivery, reportBatch)
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			err := sendReports(ctx, consumer, out)
			if ctx.Err() != nil {
				return
			}
			slog.DebugContext(ctx, "reading reports begins again", "reason", err)
			if pause(ctx, firstRetry) != nil {
				return
			}
			if consumer, err = b.reportConsumer(ctx); err != nil {
				logEnd(ctx, "reading reports ended", err)
				return
			}
			if !consumer.CachedInfo().Created.Equal(generation) {
				slog.WarnContext(ctx, "another coordinator reads the reports now")
				return
			}
		}
	}()
	return out, nil
}

func (b *Bus) reportConsumer(ctx context.Context) (jetstream.Consumer, error) {
	var consumer jetstream.Consumer
	err := b.request(ctx, "read reports", func(ctx context.Context) error {
		var err error
		consumer, err = b.js.CreateOrUpdateConsumer(ctx, reportStream, jetstream.ConsumerConfig{
			Durable: reportConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: reportAckWait, MaxDeliver: -1, MaxAckPending: -1,
		})
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: set up the streams first", err)
	}
	return consumer, err
}

// sendReports sends what a consumer gives until it breaks.
func sendReports(ctx context.Context, consumer jetstream.Consumer, out chan<- ReportDelivery) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(reportBatch), jetstream.PullExpiry(followExpiry),
		jetstream.PullHeartbeat(followHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		report := new(dispatchv1.TaskReport)
		if err := decode("a report", msg.Data(), report); err != nil {
			slog.ErrorContext(ctx, "left a report in the stream that cannot be read", "subject", msg.Subject(), "error", err)
			_ = msg.NakWithDelay(unreadableDelay)
			continue
		}
		delivery := ReportDelivery{Report: report, Ack: func() error {
			if err := failpoint.Around(ctx, failpoint.AckReport, msg.Ack); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
				return fmt.Errorf("acknowledge the report of attempt %s: %w: it comes again", report.GetAttemptId(), err)
			}
			return nil
		}}
		select {
		case out <- delivery:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Cancelled is what nobody waits for any more: one life of a run or, where Stage is set, that stage of it.
type Cancelled struct {
	RunID string
	Life  uint32
	Stage string
}

// PublishCancel tells the workers that are there now what is cancelled. Nothing is kept: the run's log decides.
func (b *Bus) PublishCancel(ctx context.Context, c Cancelled) error {
	what := "tell workers that run " + c.RunID + " is cancelled"
	if err := token("run id", c.RunID); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return failpoint.Around(ctx, failpoint.TellCancel, func() error {
		return b.request(ctx, what, func(ctx context.Context) error {
			if err := b.nc.Publish(cancelSubject+lifeOf(c.RunID, c.Life), []byte(c.Stage)); err != nil {
				return err
			}
			return b.nc.FlushWithContext(ctx)
		})
	})
}

// WatchCancels sends what is cancelled from now on, until ctx ends.
func (b *Bus) WatchCancels(ctx context.Context) (<-chan Cancelled, error) {
	messages := make(chan *nats.Msg, 64)
	sub, err := b.nc.ChanSubscribe(cancelSubject+"*", messages)
	if err != nil {
		return nil, fmt.Errorf("watch for cancellations: %w", err)
	}
	err = b.request(ctx, "watch for cancellations", b.nc.FlushWithContext)
	if err != nil {
		_ = sub.Unsubscribe()
		return nil, err
	}
	seen := make(chan Cancelled)
	go func() {
		defer close(seen)
		defer sub.Unsubscribe()
		for {
			select {
			case msg := <-messages:
				id, number, _ := strings.Cut(strings.TrimPrefix(msg.Subject, cancelSubject), "_")
				life, err := strconv.ParseUint(number, 10, 32)
				if err != nil && number != "" {
					continue
				}
				seen <- Cancelled{id, uint32(life), string(msg.Data)}
			case <-ctx.Done():
				return
			}
		}
	}()
	out := make(chan Cancelled)
	go coalesce(seen, out)
	return out, nil
}
