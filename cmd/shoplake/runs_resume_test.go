package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// canceller cancels runs, but for those that have ended, and says that it is away where asked for others.
type canceller struct {
	shoplakev1.UnimplementedRunServiceServer
	answers map[string]codes.Code
}

func (c canceller) CancelRun(_ context.Context, r *shoplakev1.CancelRunRequest) (*shoplakev1.Run, error) {
	if code := c.answers[r.GetName()]; code != codes.OK {
		return nil, status.Error(code, "the run has ended")
	}
	return &shoplakev1.Run{Name: r.GetName(), State: shoplakev1.RunState_RUN_STATE_CANCELLING}, nil
}

// Of several runs each is told: those that are cancelled, and why the others are not.
func TestCancellingSeveralTellsOfEach(t *testing.T) {
	t.Parallel()
	const one, two, three = "01KAR8W9Q0ZC5R0V9M2J6T4XEA", "01KAR8W9Q0ZC5R0V9M2J6T4XEB", "01KAR8W9Q0ZC5R0V9M2J6T4XEC"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	shoplakev1.RegisterRunServiceServer(server, canceller{answers: map[string]codes.Code{"runs/" + one: codes.FailedPrecondition, "runs/" + three: codes.Internal}})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	for _, c := range []struct {
		args      []string
		status    int
		out, errs []string
		nobody    string
	}{
		{args: []string{two}, out: []string{two}},
		{args: []string{one, two}, status: 1, out: []string{two}, errs: []string{"runs/" + one + " can't be cancelled: the run has ended\n", "Error: 1 of 2 runs could not be cancelled"}},
		{args: []string{one}, status: 1, errs: []string{"Error: cancel runs/" + one + ": the run has ended\n"}, nobody: one},
		{args: []string{two, three}, status: 1, out: []string{two}, errs: []string{"Error: cancel runs/" + three + ": the run has ended\n"}},
		{args: []string{two, "x"}, status: 1, errs: []string{`"x" is not the id of a run`}, nobody: two},
	} {
		var out, errs bytes.Buffer
		got := run(t.Context(), append([]string{"runs", "cancel", "--server", l.Addr().String()}, c.args...), strings.NewReader(""), &out, &errs)
		if got != c.status || strings.Contains(errs.String(), "rpc error") || c.nobody != "" && strings.Contains(out.String(), c.nobody) {
			t.Errorf("%v: status %d\n%s%s", c.args, got, out.String(), errs.String())
		}
		for _, want := range c.out {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: %q is not in\n%s", c.args, want, out.String())
			}
		}
		for _, want := range c.errs {
			if !strings.Contains(errs.String(), want) {
				t.Errorf("%v: %q is not in\n%s", c.args, want, errs.String())
			}
		}
	}
}
