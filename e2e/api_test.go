package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

func TestNoProtoFilesNeeded(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 0)
	check, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || check.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health check: %v, %v", check, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, service := range answer.GetListServicesResponse().GetService() {
		served[service.GetName()] = true
	}
	for _, name := range []string{"RunService", "FlowService", "PipelineService", "SourceService", "KpiService", "TableService", "QuarantineService", "HealthService"} {
		if !served["shoplake.v1."+name] {
			t.Errorf("%s is not served", name)
		}
		request := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "shoplake.v1." + name}}
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		if answer, err := stream.Recv(); err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s cannot be described: %v, %v", name, answer, err)
		}
	}
}

// post calls the port as a browser or curl does.
func (s *shop) post(path, contentType, origin, body string) (int, http.Header, []byte) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.conn.Target()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	if origin != "" {
		request.Header.Set("Origin", origin)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, answer
}

func TestBrowserForms(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 1)
	s.drop("sales", "a.csv", "sale_id,sale_date,version,amount\na,2026-01-05,1,12345678901234.5678\n")
	s.daily()

	code, _, body := s.post("/shoplake.v1.KpiService/QueryKpi", "application/json", "", `{"name": "kpis/revenue"}`)
	var answer struct {
		RowSet struct {
			Rows []map[string]string
		}
	}
	if err := json.Unmarshal(body, &answer); code != http.StatusOK || err != nil {
		t.Fatalf("JSON: %d %s", code, body)
	}
	if got := answer.RowSet.Rows[0]["revenue"]; got != "12345678901234.5678" {
		t.Errorf("JSON: revenue is %s", got)
	}
	if code, _, body := s.post("/shoplake.v1.KpiService/QueryKpi", "application/json", "", `{"name": "kpis/none"}`); code != http.StatusNotFound || !bytes.Contains(body, []byte("not_found")) {
		t.Errorf("JSON: an unknown KPI is answered by %d %s", code, body)
	}
	if code, _, body := s.post("/shoplake.v1.FlowService/ListFlows", "application/json", "http://evil.example", `{}`); code != http.StatusForbidden {
		t.Errorf("a page of another origin got %d %s", code, body)
	}
	if code, _, body := s.post("/shoplake.v1.FlowService/ListFlows", "application/json", "http://"+s.conn.Target(), `{}`); code != http.StatusOK {
		t.Errorf("a page of our own got %d %s", code, body)
	}
	// gRPC-Web: a frame without compression, five bytes of header, an empty message.
	code, header, body := s.post("/shoplake.v1.FlowService/ListFlows", "application/grpc-web+proto", "", "\x00\x00\x00\x00\x00")
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "application/grpc-web") || !bytes.Contains(body, []byte("flows/daily")) || !bytes.Contains(bytes.ToLower(body), []byte("grpc-status: 0")) {
		t.Errorf("gRPC-Web: %d %v %q", code, header, body)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	s := setup(t, os.DirFS("testdata/tiny"), 0)
	violations := func(err error) (fields []string) {
		for _, d := range status.Convert(err).Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				for _, v := range bad.GetFieldViolations() {
					fields = append(fields, v.GetField())
				}
			}
		}
		return fields
	}
	_, err := s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "daily; DROP TABLE"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a flow without its collection: %v", err)
	}
	_, err = s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/daily", StartDate: "2026-02-01", EndDate: "2026-02-01"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty interval: %v", err)
	}
	_, err = s.runs.SubmitRun(t.Context(), &shoplakev1.SubmitRunRequest{Flow: "flows/nightly"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("an unknown flow: %v", err)
	}
	stream, err := s.runs.WatchRun(t.Context(), &shoplakev1.WatchRunRequest{Name: "runs/x"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream's request is not checked: %v", err)
	}
	_, err = s.kpis.QueryKpi(t.Context(), &shoplakev1.QueryKpiRequest{Name: "kpis/revenue", Parameters: map[string]string{"limit": "1; DROP TABLE x"}})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("an undeclared parameter: %v", err)
	}
	for _, sql := range []string{
		"select * from '/etc/passwd'", "select * from read_text('/etc/passwd')", "copy (select 1) to '/tmp/x'", "select 1; select 2", "drop table silver.sales",
		"select * from silver.nothing", "attach '/tmp/x.db'", "select getenv('HOME')", "set memory_limit='1GB'", "select * from silver.sales where sale_id = $id",
	} {
		if _, err := s.tables.QueryTables(t.Context(), &shoplakev1.QueryTablesRequest{Sql: sql}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", sql, err)
		}
	}
	_, err = shoplakev1.NewPipelineServiceClient(s.conn).CreatePipeline(t.Context(), &shoplakev1.CreatePipelineRequest{ValidateOnly: true, Files: []*shoplakev1.PipelineFile{
		{Path: "pipeline.yaml", Content: []byte("name: x\ntime_zone: Mars\ncurrency: EUR\n")}, {Path: "silver/a.sql", Content: []byte("SELECT *\nFROM silver.b")},
	}})
	if fields := violations(err); status.Code(err) != codes.InvalidArgument || !slices.Contains(fields, "pipeline.yaml:2:12") || !slices.Contains(fields, "silver/a.sql:2:6") {
		t.Errorf("a faulty pipeline: %q, %v", fields, err)
	}
}
