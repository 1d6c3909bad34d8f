package client_test

import (
	"bytes"
	"context"
	"net"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/shoplake/shoplake/client"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// fake answers as a server would, with a few fixed rows. It is for the examples, and for what a real server does only
// when it dies at the right moment; how the SDK and the server go together is tested with the real program.
type fake struct {
	shoplakev1.UnimplementedRunServiceServer
	shoplakev1.UnimplementedKpiServiceServer
	shoplakev1.UnimplementedTableServiceServer

	mu       sync.Mutex
	watches  []uint64 // after_sequence of each WatchRun
	unready  int      // how many calls of SubmitRun are refused as UNAVAILABLE first
	requests []string // request ids of SubmitRun
	token    string
}

const runName = "runs/01KAR8W9Q0ZC5R0V9M2J6T4XEB"

func (f *fake) SubmitRun(ctx context.Context, req *shoplakev1.SubmitRunRequest) (*shoplakev1.Run, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, req.GetRequestId())
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get("authorization")) > 0 {
		f.token = md.Get("authorization")[0]
	}
	if f.unready > 0 {
		f.unready--
		return nil, status.Error(codes.Unavailable, "starting")
	}
	return &shoplakev1.Run{Name: runName, Flow: req.GetFlow(), State: shoplakev1.RunState_RUN_STATE_QUEUED}, nil
}

func (f *fake) WatchRun(req *shoplakev1.WatchRunRequest, stream grpc.ServerStreamingServer[shoplakev1.WatchRunResponse]) error {
	f.mu.Lock()
	f.watches = append(f.watches, req.GetAfterSequence())
	f.mu.Unlock()
	run := func(s shoplakev1.RunState) *shoplakev1.Run {
		return &shoplakev1.Run{Name: req.GetName(), Flow: "flows/daily", State: s}
	}
	stage := func(table string, s shoplakev1.StageState) *shoplakev1.Stage {
		return &shoplakev1.Stage{Name: req.GetName() + "/stages/" + table, Table: table, State: s}
	}
	if req.GetAfterSequence() == 0 {
		err := stream.Send(&shoplakev1.WatchRunResponse{Sequence: 7, Run: run(shoplakev1.RunState_RUN_STATE_RUNNING), Stages: []*shoplakev1.Stage{
			stage("bronze.orders", shoplakev1.StageState_STAGE_STATE_RUNNING),
			stage("silver.orders", shoplakev1.StageState_STAGE_STATE_WAITING),
		}})
		if err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the server is shutting down")
	}
	return stream.Send(&shoplakev1.WatchRunResponse{Sequence: 9, Run: run(shoplakev1.RunState_RUN_STATE_SUCCEEDED), Stages: []*shoplakev1.Stage{
		stage("silver.orders", shoplakev1.StageState_STAGE_STATE_SUCCEEDED),
		stage("bronze.orders", shoplakev1.StageState_STAGE_STATE_SUCCEEDED),
	}})
}

var revenueColumns = []*shoplakev1.Column{
	{Name: "currency", Type: shoplakev1.ColumnType_COLUMN_TYPE_STRING},
	{Name: "revenue", Type: shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, Scale: 4, Unit: "currency"},
	{Name: "orders", Type: shoplakev1.ColumnType_COLUMN_TYPE_INT64},
	{Name: "average_order_value", Type: shoplakev1.ColumnType_COLUMN_TYPE_DECIMAL, Scale: 6, Unit: "currency", Nullable: true},
}

// QueryKpi answers two rows on two pages.
func (f *fake) QueryKpi(_ context.Context, req *shoplakev1.QueryKpiRequest) (*shoplakev1.QueryKpiResponse, error) {
	if req.GetName() != "kpis/total_revenue" {
		return nil, status.Errorf(codes.NotFound, "no KPI %s", req.GetName())
	}
	row := map[string]any{"currency": "EUR", "revenue": "1234.5000", "orders": "17", "average_order_value": "72.617647"}
	next := "2"
	if req.GetPageToken() == "2" {
		row, next = map[string]any{"currency": "USD", "revenue": "0.0000", "orders": "0", "average_order_value": nil}, ""
	}
	set := &shoplakev1.RowSet{Columns: revenueColumns, RowCount: 1}
	if req.GetFormat() == shoplakev1.RowFormat_ROW_FORMAT_ARROW {
		set.Arrow = arrowStream(row["currency"].(string))
	} else {
		s, err := structpb.NewStruct(row)
		if err != nil {
			return nil, err
		}
		set.Rows = []*structpb.Struct{s}
	}
	return &shoplakev1.QueryKpiResponse{RowSet: set, NextPageToken: next, PublishedVersion: 3}, nil
}

func arrowStream(currency string) []byte {
	schema := arrow.NewSchema([]arrow.Field{{Name: "currency", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.StringBuilder).Append(currency)
	batch := b.NewRecordBatch()
	defer batch.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	if err := w.Write(batch); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// dialFake starts the fake in this process and dials it.
func dialFake(f *fake, opts ...client.Option) (*client.Client, func()) {
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	shoplakev1.RegisterRunServiceServer(server, f)
	shoplakev1.RegisterKpiServiceServer(server, f)
	shoplakev1.RegisterTableServiceServer(server, f)
	go func() { _ = server.Serve(listener) }()
	opts = append(opts, client.WithDialOptions(grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	})))
	c, err := client.Dial(context.Background(), "passthrough:///localhost", opts...)
	if err != nil {
		panic(err)
	}
	return c, func() {
		_ = c.Close()
		server.Stop()
	}
}
