package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// The streams, buckets and subjects. Buckets can be looked at with `nats kv`, object stores with `nats object`.
const (
	runStream    = "SHOPLAKE_RUNS"
	taskStream   = "SHOPLAKE_TASKS"
	reportStream = "SHOPLAKE_REPORTS"
	logStream    = "SHOPLAKE_LOGS"

	runSubject    = "shoplake.run."    // one subject a run
	taskSubject   = "shoplake.task."   // pool, run
	reportSubject = "shoplake.report." // one subject a run
	logSubject    = "shoplake.log."    // one subject a run
	cancelSubject = "shoplake.cancel." // core NATS: one subject a run

	publishedBucket = "shoplake_published"
	requestBucket   = "shoplake_requests"
	workerBucket    = "shoplake_workers"
	settingBucket   = "shoplake_settings"
	leaseBucket     = "shoplake_lease"
	scheduleBucket  = "shoplake_schedules"
	backfillBucket  = "shoplake_backfills"

	checkpointBucket = "shoplake_checkpoints"
	checkpointStore  = "shoplake_checkpoints" // an object store, for what does not fit into the bucket
	runIndexBucket   = "shoplake_run_index"
	pipelineStore    = "shoplake_pipelines"
)

const (
	// RequestTTL is how long a request id is remembered.
	RequestTTL = 48 * time.Hour
	// workerTTL is how long a worker counts as alive after its last heartbeat.
	workerTTL = 15 * time.Second
	// publishedHistory is how many published records are kept: the most that a bucket can.
	publishedHistory = 64
	// keptLines is how many lines of a run's processes are kept, lineAge for how long.
	keptLines = 5000
	lineAge   = 30 * 24 * time.Hour
	// duplicateWindow is how long a repeated task or report is recognised.
	duplicateWindow = time.Hour
)

// Setup makes or updates the streams and buckets. It may be called any number of times, by several processes at once.
func (b *Bus) Setup(ctx context.Context) error {
	streams := []jetstream.StreamConfig{
		{
			Name: runStream, Description: "What happened in each run: its state is the fold of its messages.",
			Subjects: []string{runSubject + "*"}, Retention: jetstream.LimitsPolicy,
			// Answers come from the leader alone: a replica behind it could hide an event from a new coordinator.
			AllowDirect: false,
		},
		{
			Name: taskStream, Description: "Tasks that workers may take.",
			Subjects: []string{taskSubject + "*.*"}, Retention: jetstream.WorkQueuePolicy, Duplicates: duplicateWindow,
		},
		{
			Name: reportStream, Description: "What workers say of their attempts, until the coordinator has it in the run's log.",
			Subjects: []string{reportSubject + "*"}, Retention: jetstream.WorkQueuePolicy, Duplicates: duplicateWindow,
		},
		{
			Name: logStream, Description: "What processes logged about each run, for people.",
			Subjects: []string{logSubject + "*"}, Retention: jetstream.LimitsPolicy, MaxMsgsPerSubject: keptLines, MaxAge: lineAge,
		},
	}
	for _, cfg := range streams {
		cfg.Storage = jetstream.FileStorage
		err := b.setup(ctx, cfg.Name, func(ctx context.Context, replicas int) error {
			cfg.Replicas = replicas
			_, err := b.js.CreateOrUpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return err
		}
	}
	buckets := []jetstream.KeyValueConfig{
		{Bucket: publishedBucket, Description: "The snapshot of each table that readers see.", History: publishedHistory},
		{Bucket: requestBucket, Description: "The run that each request began.", TTL: RequestTTL},
		{Bucket: workerBucket, Description: "Workers that are alive.", TTL: workerTTL},
		{Bucket: settingBucket, Description: "What operators set."},
		{Bucket: backfillBucket, Description: "Backfills, and how far they are."},
		{Bucket: checkpointBucket, Description: "What the log of each run folds to."},
		{Bucket: runIndexBucket, Description: "Which runs have ended, and which are archived: the names of the keys are all that counts."},
		{Bucket: scheduleBucket, Description: "When each flow ran, and whether it is paused."},
		// One value a key: with more, the server would raise a lease's time to live to that of its markers.
		{Bucket: leaseBucket, Description: "Which control plane coordinates.", History: 1, LimitMarkerTTL: time.Minute},
	}
	for _, cfg := range buckets {
		cfg.Storage = jetstream.FileStorage
		err := b.setup(ctx, kvStream(cfg.Bucket), func(ctx context.Context, replicas int) error {
			cfg.Replicas = replicas
			_, err := b.js.CreateOrUpdateKeyValue(ctx, cfg)
			return err
		})
		if err != nil {
			return err
		}
	}
	stores := []jetstream.ObjectStoreConfig{
		{Bucket: checkpointStore, Description: "Checkpoints that do not fit into a message.", Compression: true},
		{Bucket: pipelineStore, Description: "Pipeline folders by the SHA-256 of their content."},
	}
	for _, cfg := range stores {
		cfg.Storage = jetstream.FileStorage
		err := b.setup(ctx, objectStream(cfg.Bucket), func(ctx context.Context, replicas int) error {
			cfg.Replicas = replicas
			_, err := b.js.CreateOrUpdateObjectStore(ctx, cfg)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// setup calls create with the number of replicas that the stream is to have.
func (b *Bus) setup(ctx context.Context, stream string, create func(ctx context.Context, replicas int) error) error {
	err := b.request(ctx, "set up stream "+stream, func(ctx context.Context) error {
		replicas := b.replicas
		if replicas == 0 {
			replicas = 1
			s, err := b.js.Stream(ctx, stream)
			if err == nil {
				replicas = s.CachedInfo().Config.Replicas
			} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
		}
		return create(ctx, replicas)
	})
	if err != nil {
		return fmt.Errorf("%w: check that JetStream is enabled on the server and that this user may create streams", err)
	}
	return nil
}

func kvStream(bucket string) string    { return "KV_" + bucket }
func objectStream(store string) string { return "OBJ_" + store }

// workerPermissions lets a worker take tasks, report, log, tell that it lives, read pipelines and which lake is used, and hear of
// cancellations.
func workerPermissions() *server.Permissions {
	tasks, workers, settings, pipelines := taskStream, kvStream(workerBucket), kvStream(settingBucket), objectStream(pipelineStore)
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.INFO",
			"$JS.API.STREAM.INFO." + tasks,
			"$JS.API.CONSUMER.CREATE." + tasks + ".>",
			"$JS.API.CONSUMER.INFO." + tasks + ".>",
			"$JS.API.CONSUMER.MSG.NEXT." + tasks + ".>",
			"$JS.ACK." + tasks + ".>",
			reportSubject + ">",
			logSubject + ">",
			"$JS.API.STREAM.INFO." + workers,
			"$KV." + workerBucket + ".>",
			"$JS.API.STREAM.INFO." + settings,
			"$JS.API.DIRECT.GET." + settings + "." + keySubject(settingBucket, LakeSetting),
			"$JS.API.STREAM.INFO." + pipelines,
			"$JS.API.STREAM.NAMES",
			"$JS.API.DIRECT.GET." + pipelines + ".>",
			"$JS.API.STREAM.MSG.GET." + pipelines,
			"$JS.API.CONSUMER.CREATE." + pipelines + ".>",
			"$JS.API.CONSUMER.DELETE." + pipelines + ".>",
			"$JS.API.CONSUMER.INFO." + pipelines + ".>",
			"$JS.API.CONSUMER.MSG.NEXT." + pipelines + ".>",
			"$JS.FC.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>", cancelSubject + "*"}},
	}
}
