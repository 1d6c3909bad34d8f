package pipeline_test

import (
	"testing"

	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
	"github.com/shoplake/shoplake/pipelines"
)

func TestEcommerceLoads(t *testing.T) {
	t.Parallel()
	binder, err := engine.NewBinder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Load(t.Context(), pipelines.Ecommerce, binder)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Models {
		t.Logf("%s %+v %+v %v", m.Table, m.Partition, m.Reach, m.Inputs)
	}
}
