package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
)

// headerRoom is kept free in a message for its headers, in bytes.
const headerRoom = 4 << 10

// duplicateMessageInFlight is the server's code for a message whose first copy is not stored yet.
const duplicateMessageInFlight jetstream.ErrorCode = 10158

// versioned is a message that says which protocol it follows.
type versioned interface {
	proto.Message
	GetProtocolVersion() uint32
}

// encode makes the bytes of a message, with the protocol's version set by stamp on a copy.
func encode[M versioned](what string, m M, stamp func(M)) ([]byte, error) {
	if v := m.GetProtocolVersion(); v != 0 && v != Protocol {
		return nil, fmt.Errorf("%s has protocol version %d, this program writes %d: %w", what, v, Protocol, ErrProtocol)
	}
	stamped := proto.CloneOf(m)
	stamp(stamped)
	return marshal(what, stamped)
}

func marshal(what string, m proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return data, sized(what, data)
}

func sized(what string, data []byte) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("%s is %d bytes, at most %d fit: %w: split it, or write it to the lake and send its path",
			what, len(data), MaxMessage, ErrTooLarge)
	}
	return nil
}

// decode reads a message and refuses another protocol.
func decode[M versioned](what string, data []byte, m M) error {
	if err := proto.Unmarshal(data, m); err != nil {
		return fmt.Errorf("decode %s: %w: %w", what, ErrProtocol, err)
	}
	if v := m.GetProtocolVersion(); v != Protocol {
		return fmt.Errorf("%s has protocol version %d, this program reads %d: %w: run the same version of shoplake everywhere",
			what, v, Protocol, ErrProtocol)
	}
	return nil
}

// publish stores a message whose id makes repeating it harmless.
func (b *Bus) publish(ctx context.Context, what, subject, id string, header nats.Header, data []byte) error {
	return b.request(ctx, what, func(ctx context.Context) error {
		msg := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: data}
		for key, values := range header {
			msg.Header[key] = values
		}
		_, err := b.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id))
		if isDuplicateInFlight(err) {
			return transient(err)
		}
		return err
	})
}

// publishAfter stores a message if the last one of its subject has sequence after (0: there is none), and gives its sequence;
// ErrConflict otherwise. Where the server's answer is lost, the log itself says what happened: the message carries an id, and
// a message of ours can only stand right behind after. ttl 0 keeps the message.
func (b *Bus) publishAfter(ctx context.Context, what, stream, subject string, after uint64, data []byte, ttl time.Duration) (uint64, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	id := rand.Text()
	opts := []jetstream.PublishOpt{
		jetstream.WithMsgID(id), jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0),
	}
	if ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(ttl))
	}
	var seq uint64
	unsure := false
	err = retry(ctx, what, func(ctx context.Context) error {
		var ack *jetstream.PubAck
		sent := false
		err := b.try(ctx, func(ctx context.Context) error {
			sent = true
			var err error
			ack, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: nats.Header{}, Data: data}, opts...)
			return err
		})
		if err == nil {
			seq = ack.Sequence
			return nil
		}
		var answered *jetstream.APIError
		if sent && !errors.As(err, &answered) && !errors.Is(err, nats.ErrNoResponders) {
			unsure = true
		}
		conflict := isWrongSequence(err)
		if !conflict && !isTransient(err) && !isDuplicateInFlight(err) {
			return err
		}
		if conflict && !unsure {
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
		if !unsure {
			return transient(err)
		}
		// It may have been stored, now or by an earlier try.
		next, found, readErr := b.following(ctx, s, subject, after)
		switch {
		case readErr != nil:
			return transient(errors.Join(err, readErr))
		case found && next.Header.Get(jetstream.MsgIDHeader) == id:
			seq = next.Sequence
			return nil
		case found, answered != nil && answered.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
			return fmt.Errorf("%w: %w", ErrConflict, err)
		}
		return transient(err)
	})
	if err != nil && unsure && !errors.Is(err, ErrConflict) {
		return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return seq, err
}

// following is the first message of a subject behind a sequence.
func (b *Bus) following(ctx context.Context, s jetstream.Stream, subject string, after uint64) (*jetstream.RawStreamMsg, bool, error) {
	var msg *jetstream.RawStreamMsg
	err := b.try(ctx, func(ctx context.Context) error {
		var err error
		msg, err = s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	return msg, err == nil, err
}

// last is the last message of a subject; found is false where there is none.
func (b *Bus) last(ctx context.Context, s jetstream.Stream, subject string) (msg *jetstream.RawStreamMsg, found bool, err error) {
	err = b.request(ctx, "read the last message of "+subject, func(ctx context.Context) error {
		var err error
		msg, err = s.GetLastMsgForSubject(ctx, subject)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	return msg, err == nil, err
}

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func isDuplicateInFlight(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == duplicateMessageInFlight
}
