package server

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoplake/shoplake/controlplane/backfill"
	"github.com/shoplake/shoplake/controlplane/flow"
	"github.com/shoplake/shoplake/controlplane/kpi"
	"github.com/shoplake/shoplake/controlplane/page"
	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/controlplane/quarantine"
	"github.com/shoplake/shoplake/controlplane/runs"
	"github.com/shoplake/shoplake/controlplane/source"
	"github.com/shoplake/shoplake/controlplane/table"
	"github.com/shoplake/shoplake/internal/bus"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/internal/pipelinestore"
)

// domain is the domain of our ErrorInfo details.
const domain = "shoplake.v1"

var errPanic = errors.New("the server met a fault of the program: please report what its log says")

// codesOf says which code an error of a capability has, and the reason that ErrorInfo gives. The first that matches counts.
var codesOf = []struct {
	err    error
	code   codes.Code
	reason string
}{
	{context.Canceled, codes.Canceled, "CANCELLED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
	{runs.ErrNotFound, codes.NotFound, "RUN_NOT_FOUND"},
	{runs.ErrNoStage, codes.NotFound, "STAGE_NOT_FOUND"},
	{runs.ErrNoFlow, codes.NotFound, "FLOW_NOT_FOUND"},
	{runs.ErrEnded, codes.FailedPrecondition, "RUN_ENDED"},
	{runs.ErrNotResumable, codes.FailedPrecondition, "RUN_NOT_RESUMABLE"},
	{backfill.ErrNotFound, codes.NotFound, "BACKFILL_NOT_FOUND"},
	{backfill.ErrState, codes.FailedPrecondition, "BACKFILL_STATE"},
	{backfill.ErrNothing, codes.FailedPrecondition, "BACKFILL_EMPTY"},
	{backfill.ErrInterval, codes.InvalidArgument, "INTERVAL_EMPTY"},
	{backfill.ErrTooMany, codes.InvalidArgument, "TOO_MANY_INTERVALS"},
	{runs.ErrInterval, codes.InvalidArgument, "INTERVAL_EMPTY"},
	{runs.ErrFilter, codes.InvalidArgument, "FILTER_INVALID"},
	{flow.ErrNotFound, codes.NotFound, "FLOW_NOT_FOUND"},
	{kpi.ErrNotFound, codes.NotFound, "KPI_NOT_FOUND"},
	{kpi.ErrParameter, codes.InvalidArgument, "PARAMETER_INVALID"},
	{published.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{quarantine.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{source.ErrNotFound, codes.NotFound, "SOURCE_NOT_FOUND"},
	{pipelinestore.ErrNotFound, codes.NotFound, "PIPELINE_NOT_FOUND"},
	{page.ErrToken, codes.InvalidArgument, "PAGE_TOKEN_INVALID"},
	{table.ErrStatement, codes.InvalidArgument, "STATEMENT_REFUSED"},
	{engine.ErrTooManyRows, codes.ResourceExhausted, "TOO_MANY_ROWS"},
	{engine.ErrOutOfMemory, codes.ResourceExhausted, "OUT_OF_MEMORY"},
	{engine.ErrDiskFull, codes.ResourceExhausted, "DISK_FULL"},
	{bus.ErrConflict, codes.Aborted, "CONFLICT"},
	{bus.ErrTooLarge, codes.InvalidArgument, "TOO_LARGE"},
}

// statusOf makes an error of a capability the error of an answer.
func statusOf(ctx context.Context, log *slog.Logger, method string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err // made by gRPC itself or by the validation of requests
	}
	var faults pipeline.Faults
	if errors.As(err, &faults) {
		return faulty(faults)
	}
	for _, c := range codesOf {
		if errors.Is(err, c.err) {
			return detailed(status.New(c.code, err.Error()), &errdetails.ErrorInfo{Reason: c.reason, Domain: domain})
		}
	}
	var refused *engine.Error
	if errors.As(err, &refused) {
		return detailed(status.New(codes.InvalidArgument, err.Error()), &errdetails.ErrorInfo{Reason: "STATEMENT_INVALID", Domain: domain})
	}
	log.ErrorContext(ctx, "a request failed", "method", method, "error", err)
	return detailed(status.New(codes.Internal, err.Error()), &errdetails.ErrorInfo{Reason: "INTERNAL", Domain: domain})
}

// faulty is the answer to a pipeline folder with faults: each is a field violation with file and line.
func faulty(faults pipeline.Faults) error {
	bad := &errdetails.BadRequest{}
	for _, f := range faults {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: place(f), Description: f.Message, Reason: "PIPELINE_FAULT"})
	}
	s := status.New(codes.InvalidArgument, faults.Error())
	with, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "PIPELINE_FAULTY", Domain: domain}, bad)
	if err != nil {
		return s.Err()
	}
	return with.Err()
}

// place is where a fault lies: file, line and column as far as they are known.
func place(f pipeline.Fault) string {
	text := f.File
	if f.Line > 0 {
		text += ":" + strconv.Itoa(f.Line)
	}
	if f.Line > 0 && f.Column > 0 {
		text += ":" + strconv.Itoa(f.Column)
	}
	return text
}

func detailed(s *status.Status, info *errdetails.ErrorInfo) error {
	with, err := s.WithDetails(info)
	if err != nil {
		return s.Err() // the answer without details is still the answer
	}
	return with.Err()
}

func unaryErrors(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		response, err := handler(ctx, request)
		if err != nil {
			return nil, statusOf(ctx, log, info.FullMethod, err)
		}
		return response, nil
	}
}

func streamErrors(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return statusOf(stream.Context(), log, info.FullMethod, handler(server, stream))
	}
}
