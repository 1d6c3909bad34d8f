// Package health says how the pipeline is, with the reasons.
package health

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/controlplane/runs"
	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
	"github.com/shoplake/shoplake/internal/bus"
)

// recentRuns is how many runs are looked at for the latest of each flow.
const recentRuns = 100

// Handler serves shoplake.v1.HealthService.
type Handler struct {
	shoplakev1.UnimplementedHealthServiceServer
	Reader  *published.Reader
	Bus     *bus.Bus
	Runs    *runs.Log
	Pool    string
	Version string
	// Leads says whether this control plane coordinates.
	Leads *atomic.Bool
	// TraceURL is where traces can be looked at, {trace_id} standing for the trace.
	TraceURL string
}

// GetHealth sums up how everything is.
func (h *Handler) GetHealth(ctx context.Context, _ *shoplakev1.GetHealthRequest) (*shoplakev1.Health, error) {
	state, err := h.Reader.Current(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := h.Bus.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("count the workers: %w", err)
	}
	waiting, pending, err := h.Bus.Queue(ctx, h.Pool)
	if err != nil {
		return nil, fmt.Errorf("look at the queue: %w", err)
	}
	v := &shoplakev1.Health{
		Version: h.Version, Pipeline: "pipelines/" + state.Pipeline.Digest, PublishedVersion: int64(state.Record.GetVersion()),
		TraceUrl:    h.TraceURL,
		PublishTime: state.Record.GetTime(), Coordinator: h.Leads.Load(), Workers: int32(len(workers)), TasksWaiting: int64(waiting), TasksRunning: int64(pending),
	}
	if err := h.addRuns(ctx, v); err != nil {
		return nil, err
	}
	if err := addStorage(ctx, v, state); err != nil {
		return nil, err
	}
	judge(v)
	return v, nil
}

func (h *Handler) addRuns(ctx context.Context, v *shoplakev1.Health) error {
	seen := map[string]bool{}
	n := 0
	return h.Runs.List(ctx, "", func(s *runs.State) bool {
		if s.Dry() {
			return true // a question, whose answer is nobody's health
		}
		run := s.Run()
		if !s.Terminal() {
			v.RunsOpen++
		}
		if !seen[run.GetFlow()] && s.Submitted.GetBackfill() == "" { // a backfill says nothing of how the flow itself does
			seen[run.GetFlow()] = true
			v.Flows = append(v.Flows, &shoplakev1.FlowHealth{Flow: run.GetFlow(), LastRun: run.GetName(), LastState: strings.TrimPrefix(run.GetState().String(), "RUN_STATE_"), LastEndTime: run.GetEndTime()})
		}
		n++
		return n < recentRuns
	})
}

func addStorage(ctx context.Context, v *shoplakev1.Health, state *published.State) error {
	layers := map[string]*shoplakev1.LayerStorage{}
	for _, name := range state.Tables() {
		layer := layers[published.Layer(name)]
		if layer == nil {
			layer = &shoplakev1.LayerStorage{Layer: published.Layer(name)}
			layers[layer.GetLayer()] = layer
			v.Storage = append(v.Storage, layer)
		}
		files, err := state.Files(ctx, name)
		if err != nil {
			return err
		}
		layer.Tables++
		for _, f := range files {
			layer.Rows += f.Rows
			layer.SizeBytes += f.Bytes
		}
	}
	return nil
}

// judge says whether somebody should look, and at what.
func judge(v *shoplakev1.Health) {
	v.Status = shoplakev1.HealthStatus_HEALTH_STATUS_OK
	degraded := func(format string, args ...any) {
		v.Status = shoplakev1.HealthStatus_HEALTH_STATUS_DEGRADED
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
	if v.GetWorkers() == 0 {
		degraded("no worker is registered: start one with `shoplake worker`, or runs will wait")
	}
	for _, f := range v.GetFlows() {
		if f.GetLastState() == "FAILED" {
			degraded("the latest run of %s failed: see `shoplake runs get %s`", f.GetFlow(), strings.TrimPrefix(f.GetLastRun(), "runs/"))
		}
	}
}

func stateOf(w *dispatchv1.WorkerStatus) shoplakev1.WorkerState {
	switch {
	case w.GetDraining():
		return shoplakev1.WorkerState_WORKER_STATE_DRAINING
	case len(w.GetTasks()) > 0:
		return shoplakev1.WorkerState_WORKER_STATE_BUSY
	}
	return shoplakev1.WorkerState_WORKER_STATE_IDLE
}

// ListWorkers lists the workers that are alive.
func (h *Handler) ListWorkers(ctx context.Context, _ *shoplakev1.ListWorkersRequest) (*shoplakev1.ListWorkersResponse, error) {
	workers, err := h.Bus.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the workers: %w", err)
	}
	response := &shoplakev1.ListWorkersResponse{}
	for _, w := range workers {
		response.Workers = append(response.Workers, &shoplakev1.Worker{
			Name: "workers/" + w.GetWorkerId(), Version: w.GetVersion(), Host: w.GetHost(), Pid: w.GetPid(), Slots: w.GetSlots(), MemoryLimitBytes: w.GetMemoryLimitBytes(),
			StartTime: w.GetStartTime(), HeartbeatTime: timestamppb.New(w.GetTime().AsTime()), Tasks: w.GetTasks(), TasksDone: w.GetTasksDone(),
			Pool: w.GetPool(), State: stateOf(w),
		})
	}
	return response, nil
}
