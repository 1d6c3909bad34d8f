package pipeline

import "time"

// CatchUp says which of the times that were missed, while nothing ran or the flow was paused, are made up for.
type CatchUp string

// Ways to catch up.
const (
	// CatchUpAll: every one, in order.
	CatchUpAll CatchUp = "all"
	// CatchUpLatest: the latest.
	CatchUpLatest CatchUp = "latest"
	// CatchUpNone: none.
	CatchUpNone CatchUp = "none"
)

// Overlap says what happens at a scheduled time when as many runs of the flow as may be are still going.
type Overlap string

// Ways to deal with runs that are still going.
const (
	// OverlapQueue: the new run waits for them.
	OverlapQueue Overlap = "queue"
	// OverlapSkip: there is no new run.
	OverlapSkip Overlap = "skip"
	// OverlapCancelRunning: they are cancelled.
	OverlapCancelRunning Overlap = "cancel_running"
)

// Schedule says when a flow runs.
type Schedule struct {
	// Cron is a cron expression (see ParseCron), in local time.
	Cron string
	// TimeZone is the IANA name of the zone of local times.
	TimeZone string
	// StartDate is the first local day, EndDate the day after the last, YYYY-MM-DD; empty where unbounded.
	StartDate, EndDate string
	CatchUp            CatchUp
	// Concurrency is how many runs of the flow may be open at once.
	Concurrency int
	OnOverlap   Overlap
}

// Late says which file a scheduled flow expects.
type Late struct {
	// Source is where a new file is expected between one time of the schedule and the next.
	Source string
	// After is how long a run waits for the file; then it is late, and begins without.
	After time.Duration
}
