// Package bus is what Shoplake's processes say to each other through NATS JetStream: the log of each run, the tasks and
// the reports of workers, the coordinator's lease, and the few records that must last. It alone knows NATS.
package bus

import (
	"context"
	"errors"
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// Protocol is the version of the messages that this program writes and reads. Another one is refused, never guessed.
const Protocol = 1

var (
	// ErrConflict means that somebody else wrote first: read again, and decide again.
	ErrConflict = errors.New("somebody else wrote first")
	// ErrNotFound means that there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrProtocol means a message of another protocol version, or one that cannot be read.
	ErrProtocol = errors.New("message cannot be read by this version of shoplake")
	// ErrTooLarge means a message over MaxPayload: split it, or keep the content in the lake and send its path.
	ErrTooLarge = errors.New("message is too large")
)

var errStub = errors.New("bus: being written")

type ServerConfig struct {
	StoreDir      string
	Host          string
	Port          int
	SyncAlways    bool
	InProcessOnly bool
}
type Server struct{}

func StartServer(ctx context.Context, c ServerConfig) (*Server, error) { return nil, errStub }
func (s *Server) URL() string                                          { return "" }
func (s *Server) CredentialsFile() string                              { return "" }
func (s *Server) Close()                                               {}

type Config struct {
	URL, CredentialsFile   string
	TLSCA, TLSCert, TLSKey string
	Name                   string
	Replicas               int
	Server                 *Server
}
type Bus struct{}

func Connect(ctx context.Context, c Config) (*Bus, error) { return nil, errStub }
func (b *Bus) Close()                                     {}
func (b *Bus) Setup(ctx context.Context) error            { return errStub }

type LoggedEvents struct {
	Seq    uint64
	Time   time.Time
	Events *dispatchv1.RunEvents
}

func (b *Bus) AppendRun(ctx context.Context, runID string, after uint64, events *dispatchv1.RunEvents) (uint64, error) {
	return 0, errStub
}
func (b *Bus) ReadRun(ctx context.Context, runID string, after uint64) ([]LoggedEvents, error) {
	return nil, errStub
}

// WatchRun: closed when ctx is done (or, logged, when a message cannot be read).
func (b *Bus) WatchRun(ctx context.Context, runID string, after uint64) (<-chan LoggedEvents, error) {
	return nil, errStub
}
func (b *Bus) Runs(ctx context.Context) ([]string, error)              { return nil, errStub }
func (b *Bus) WatchNewRuns(ctx context.Context) (<-chan string, error) { return nil, errStub }

func (b *Bus) Release(ctx context.Context, pool string, task *dispatchv1.Task) error { return errStub }

type TaskOptions struct{ AckWait time.Duration }
type TaskSource struct{}
type Delivery struct {
	Task       *dispatchv1.Task
	Deliveries int
}

func (b *Bus) Tasks(ctx context.Context, pool string, o TaskOptions) (*TaskSource, error) {
	return nil, errStub
}
func (s *TaskSource) Next(ctx context.Context) (*Delivery, error)      { return nil, errStub }
func (d *Delivery) Context(parent context.Context) context.Context     { return parent }
func (d *Delivery) Extend(ctx context.Context) error                   { return errStub }
func (d *Delivery) Ack(ctx context.Context) error                      { return errStub }
func (d *Delivery) Nak(ctx context.Context, delay time.Duration) error { return errStub }
func (d *Delivery) Term(ctx context.Context) error                     { return errStub }
func (b *Bus) PurgeTasks(ctx context.Context, runID string) error      { return errStub }
func (b *Bus) Queue(ctx context.Context, pool string) (waiting, pending int, err error) {
	return 0, 0, errStub
}

type ReportDelivery struct {
	Report *dispatchv1.TaskReport
	Ack    func() error
}

func (b *Bus) Report(ctx context.Context, r *dispatchv1.TaskReport) error { return errStub }
func (b *Bus) Reports(ctx context.Context) (<-chan ReportDelivery, error) { return nil, errStub }

func (b *Bus) PublishCancel(ctx context.Context, runID string) error   { return errStub }
func (b *Bus) WatchCancels(ctx context.Context) (<-chan string, error) { return nil, errStub }

type Lease struct{}

func (b *Bus) Campaign(ctx context.Context, holder string, ttl time.Duration) (*Lease, error) {
	return nil, errStub
}
func (l *Lease) Epoch() uint64                    { return 0 }
func (l *Lease) Lost() <-chan struct{}            { return nil }
func (l *Lease) Resign(ctx context.Context) error { return errStub }

// Published returns an empty record and revision 0 where nothing was published yet; MovePublished with revision 0 creates it.
func (b *Bus) Published(ctx context.Context) (*dispatchv1.Published, uint64, error) {
	return nil, 0, errStub
}
func (b *Bus) MovePublished(ctx context.Context, next *dispatchv1.Published, revision uint64) (uint64, error) {
	return 0, errStub
}

// PublishedAt: ErrNotFound where nothing was published yet by then, or the record is older than the history kept.
func (b *Bus) PublishedAt(ctx context.Context, at time.Time) (*dispatchv1.Published, error) {
	return nil, errStub
}

// WatchPublished sends the current one first, where there is one; a slow receiver gets the latest only.
func (b *Bus) WatchPublished(ctx context.Context) (<-chan *dispatchv1.Published, error) {
	return nil, errStub
}

func (b *Bus) ClaimRequest(ctx context.Context, requestID, runID string) (existing string, created bool, err error) {
	return "", false, errStub
}

func (b *Bus) PutCheckpoint(ctx context.Context, runID string, data []byte) error { return errStub }

// Checkpoint: ErrNotFound where there is none.
func (b *Bus) Checkpoint(ctx context.Context, runID string) ([]byte, error) { return nil, errStub }
func (b *Bus) RemoveCheckpoint(ctx context.Context, runID string) error     { return errStub }

func (b *Bus) Heartbeat(ctx context.Context, w *dispatchv1.WorkerStatus) error { return errStub }
func (b *Bus) Workers(ctx context.Context) ([]*dispatchv1.WorkerStatus, error) { return nil, errStub }
func (b *Bus) RemoveWorker(ctx context.Context, workerID string) error         { return errStub }

func (b *Bus) PutSetting(ctx context.Context, key string, value []byte) (uint64, error) {
	return 0, errStub
}

// Setting: ErrNotFound where there is none.
func (b *Bus) Setting(ctx context.Context, key string) ([]byte, uint64, error) {
	return nil, 0, errStub
}

// CompareAndSetSetting: revision 0 = must not exist; ErrConflict.
func (b *Bus) CompareAndSetSetting(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return 0, errStub
}

type PipelineInfo struct {
	Digest string
	Time   time.Time
}

func (b *Bus) PutPipeline(ctx context.Context, digest string, archive []byte) error { return errStub }
func (b *Bus) Pipeline(ctx context.Context, digest string) ([]byte, error)          { return nil, errStub }
func (b *Bus) Pipelines(ctx context.Context) ([]PipelineInfo, error)                { return nil, errStub }
