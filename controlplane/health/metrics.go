package health

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/shoplake/shoplake/controlplane/runs"
)

// Loads tells what waits for workers, by pool; nothing where another control plane coordinates.
type Loads interface {
	Loads() map[string]runs.Load
}

// Measure gives the metrics what waits for the workers of each pool. An autoscaler goes by them: where tasks wait, more workers help.
// Only the control plane that coordinates tells them.
func Measure(loads Loads) (metric.Registration, error) {
	meter := otel.Meter("github.com/shoplake/shoplake/controlplane/health")
	var errs [4]error
	var waiting, running, slots metric.Int64ObservableGauge
	var oldest metric.Float64ObservableGauge
	waiting, errs[0] = meter.Int64ObservableGauge("shoplake.tasks.waiting", metric.WithDescription("Tasks that could run now if a worker were free."))
	running, errs[1] = meter.Int64ObservableGauge("shoplake.tasks.running", metric.WithDescription("Tasks that a worker has."))
	oldest, errs[2] = meter.Float64ObservableGauge("shoplake.tasks.oldest", metric.WithUnit("s"), metric.WithDescription("How long the task that has waited longest waits."))
	slots, errs[3] = meter.Int64ObservableGauge("shoplake.workers.slots", metric.WithDescription("Tasks that all workers together do at a time."))
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("make the metrics of the queue: %w", err)
		}
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for pool, l := range loads.Loads() {
			in := metric.WithAttributes(attribute.String("pool", pool))
			o.ObserveInt64(waiting, int64(l.Waiting), in)
			o.ObserveInt64(running, int64(l.Running), in)
			o.ObserveInt64(slots, int64(l.Slots), in)
			age := 0.0
			if !l.Oldest.IsZero() {
				age = max(0, time.Since(l.Oldest).Seconds())
			}
			o.ObserveFloat64(oldest, age, in)
		}
		return nil
	}, waiting, running, oldest, slots)
}
