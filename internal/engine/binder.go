package engine

import (
	"context"
	"errors"

	"github.com/shoplake/shoplake/internal/pipeline"
)

// NewBinder gives the engine as the loader of pipelines wants it.
func NewBinder(ctx context.Context) (pipeline.Engine, error) {
	if _, err := parserSession.get(ctx); err != nil {
		return nil, err
	}
	return binder{}, nil
}

type binder struct{}

func (binder) Parse(ctx context.Context, sql string) (*pipeline.ParsedSQL, error) {
	statement, err := Parse(ctx, sql)
	if err != nil {
		return nil, pipelineError(err)
	}
	parsed := &pipeline.ParsedSQL{Params: statement.Params}
	for _, ref := range statement.Tables {
		parsed.Tables = append(parsed.Tables, pipeline.TableRef{Table: ref.Table(), Line: ref.Line, Column: ref.Column})
	}
	return parsed, nil
}

func (binder) Describe(ctx context.Context, sql string, tables map[string][]pipeline.Column, params map[string]string) ([]pipeline.Column, error) {
	own := make(map[string][]Column, len(tables))
	for name, columns := range tables {
		for _, c := range columns {
			own[name] = append(own[name], Column{Name: c.Name, Type: c.Type, Required: c.Required})
		}
	}
	described, err := Describe(ctx, sql, own, params)
	if err != nil {
		return nil, pipelineError(err)
	}
	columns := make([]pipeline.Column, len(described))
	for i, c := range described {
		columns[i] = pipeline.Column{Name: c.Name, Type: c.Type}
	}
	return columns, nil
}

// pipelineError hands a fault in the statement over as the loader's own error.
func pipelineError(err error) error {
	var fault *SyntaxError
	if errors.As(err, &fault) {
		return &pipeline.SQLError{Line: fault.Line, Column: fault.Column, Message: fault.Message}
	}
	return err
}
