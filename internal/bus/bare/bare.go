// Package bare measures JetStream with nothing of ours around it: what benchmarks hold the dispatch of tasks against.
package bare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/shoplake/shoplake/internal/bus"
)

// messageBytes is the size of a message: about that of a task.
const messageBytes = 256

// Rate is how many messages a second are published, fetched, acknowledged with the server's confirmation, and answered by another
// that is published, by so many goroutines at a time over one connection. It leaves two streams behind.
func Rate(ctx context.Context, url, credentialsFile string, messages, atOnce int) (float64, error) {
	login, err := bus.Credentials(credentialsFile)
	if err != nil {
		return 0, err
	}
	nc, err := nats.Connect(url, login)
	if err != nil {
		return 0, fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, fmt.Errorf("use JetStream: %w", err)
	}
	for name, subject := range map[string]string{"BARE_OUT": "bare.out", "BARE_BACK": "bare.back"} {
		config := jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Retention: jetstream.WorkQueuePolicy}
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return 0, fmt.Errorf("make the stream %s: %w", name, err)
		}
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "BARE_OUT", jetstream.ConsumerConfig{Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return 0, fmt.Errorf("make the consumer: %w", err)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	data := make([]byte, messageBytes)
	begin := time.Now()
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range messages / atOnce {
				if err := once(ctx, js, consumer, data); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, fmt.Errorf("measure bare JetStream: %w", err)
	}
	return float64(messages/atOnce*atOnce) / time.Since(begin).Seconds(), nil
}

func once(ctx context.Context, js jetstream.JetStream, consumer jetstream.Consumer, data []byte) error {
	if _, err := js.Publish(ctx, "bare.out", data); err != nil {
		return err
	}
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		return err
	}
	msg, ok := <-batch.Messages()
	if !ok {
		return errors.Join(errors.New("no message came"), batch.Error())
	}
	if err := msg.DoubleAck(ctx); err != nil {
		return err
	}
	_, err = js.Publish(ctx, "bare.back", data)
	return err
}
