//go:build unix

package e2e

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func TestProcessesKeepTheLinesOfARun(t *testing.T) {
	t.Parallel()
	d := deployed(t, 1)
	run := d.submit(&shoplakev1.SubmitRunRequest{})
	stream, err := d.runs.WatchRunLogs(d.ctx, &shoplakev1.WatchRunLogsRequest{Parent: run.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	var watched []*shoplakev1.LogLine
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		watched = append(watched, resp.GetLine())
	}
	d.wait(run.GetName())
	const stage = "silver.orders"
	var control, worker, other int
	for i, l := range watched {
		if i > 0 && l.GetSequence() <= watched[i-1].GetSequence() {
			t.Errorf("line %d comes after line %d", l.GetSequence(), watched[i-1].GetSequence())
		}
		switch {
		case l.GetStage() != stage:
			other++
		case l.GetWorker() == "w1":
			worker++
		default:
			control++
		}
	}
	if control == 0 || worker == 0 || other == 0 || watched[len(watched)-1].GetMessage() != "the run ended" {
		t.Errorf("%d lines of the control plane and %d of the worker about %s, %d others, the last one %v", control, worker, stage, other, watched[len(watched)-1])
	}
	var listed []*shoplakev1.LogLine
	for token := ""; ; {
		page, err := d.runs.ListRunLogs(d.ctx, &shoplakev1.ListRunLogsRequest{Parent: run.GetName() + "/stages/" + stage, PageSize: 1, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, page.GetLines()...)
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(listed) != control+worker {
		t.Errorf("%d lines about %s are listed, want %d", len(listed), stage, control+worker)
	}
	for _, l := range listed {
		if l.GetStage() != stage {
			t.Errorf("a line of %s is listed for %s: %v", l.GetStage(), stage, l)
		}
		if strings.Contains(l.String(), "password") {
			t.Errorf("a line tells a secret: %v", l)
		}
	}
	bad, err := d.runs.ListRunLogs(d.ctx, &shoplakev1.ListRunLogsRequest{Parent: run.GetName(), MinLevel: shoplakev1.LogLevel_LOG_LEVEL_ERROR})
	if err != nil || len(bad.GetLines()) > 0 {
		t.Errorf("a good run has the errors %v, %v", bad.GetLines(), err)
	}
	_, err = d.runs.ListRunLogs(d.ctx, &shoplakev1.ListRunLogsRequest{Parent: run.GetName() + "/stages/silver.order"})
	if status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "silver.orders") {
		t.Errorf("lines of a stage that is not there: %v", err)
	}
	d.stopAll()
}
