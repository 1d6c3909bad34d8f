// Package kpi answers the pipeline's KPIs from published gold tables, kept hot in memory: loaded once a published state,
// shared by all requests.
package kpi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shoplake/shoplake/controlplane/published"
	"github.com/shoplake/shoplake/internal/engine"
	"github.com/shoplake/shoplake/internal/pipeline"
)

var (
	// ErrNotFound says that the pipeline has no such KPI.
	ErrNotFound = errors.New("no such KPI")
	// ErrParameter says that a parameter is unknown or its value is not of its type.
	ErrParameter = errors.New("parameter is wrong")
)

// Query is a question for a KPI.
type Query struct {
	KPI string
	// From and To are business days as YYYY-MM-DD; To is exclusive; unbounded where empty.
	From, To string
	// Parameters are values of declared parameters, as text.
	Parameters map[string]string
	// AsOf, where set, asks what was published then.
	AsOf time.Time
}

// Prepared is a KPI ready to be computed: its SQL with parameters, on a session that sees its tables. It must be closed.
type Prepared struct {
	KPI     *pipeline.KPI
	State   *published.State
	Session *engine.Session
	Params  map[string]any
	// Close gives the session back.
	Close func()
}

// KPIs answers KPIs.
type KPIs struct {
	reader  *published.Reader
	answers *answers

	mu  sync.Mutex
	hot *hot
	// known are the days of the state that was asked for last.
	known *knownDays
}

// hot is a session that holds the gold tables of one published state. It is closed when another has taken its place and
// the last request that uses it is done.
type hot struct {
	version uint64
	digest  string
	session *engine.Session
	users   int
	retired bool
}

// New returns the KPIs of published states.
func New(reader *published.Reader) *KPIs { return &KPIs{reader: reader, answers: newAnswers()} }

// Close lets go of what is held in memory.
func (k *KPIs) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retire()
}

func (k *KPIs) retire() {
	if k.hot == nil {
		return
	}
	k.hot.retired = true
	if k.hot.users == 0 {
		k.hot.session.Close()
	}
	k.hot = nil
}

// Prepare finds the KPI, checks the parameters and takes a session.
func (k *KPIs) Prepare(ctx context.Context, q Query) (*Prepared, error) {
	state, err := k.state(ctx, q.AsOf)
	if err != nil {
		return nil, err
	}
	return k.prepare(ctx, state, q)
}

func (k *KPIs) prepare(ctx context.Context, state *published.State, q Query) (*Prepared, error) {
	kpi := state.Pipeline.KPI(q.KPI)
	if kpi == nil {
		return nil, fmt.Errorf("%s: %w: see `shoplake kpi list`", q.KPI, ErrNotFound)
	}
	params, err := parameters(kpi, q)
	if err != nil {
		return nil, err
	}
	session, release, err := k.session(ctx, state, kpi, q.AsOf.IsZero())
	if err != nil {
		return nil, err
	}
	return &Prepared{KPI: kpi, State: state, Session: session, Params: params, Close: release}, nil
}

func (k *KPIs) state(ctx context.Context, asOf time.Time) (*published.State, error) {
	if asOf.IsZero() {
		return k.reader.Current(ctx)
	}
	return k.reader.At(ctx, asOf)
}

// session returns a session that sees the KPI's tables: the hot one for the current state, one of its own for another.
func (k *KPIs) session(ctx context.Context, state *published.State, kpi *pipeline.KPI, current bool) (*engine.Session, func(), error) {
	if !current {
		session, err := state.Open(ctx, kpi.Tables, false)
		if err != nil {
			return nil, nil, err
		}
		return session, func() { session.Close() }, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hot == nil || k.hot.version != state.Record.GetVersion() || k.hot.digest != state.Pipeline.Digest {
		session, err := state.Open(ctx, tablesOf(state.Pipeline), true)
		if err != nil {
			return nil, nil, fmt.Errorf("load the tables of KPIs: %w", err)
		}
		k.retire()
		k.hot = &hot{version: state.Record.GetVersion(), digest: state.Pipeline.Digest, session: session}
	}
	h := k.hot
	h.users++
	return h.session, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if h.users--; h.users == 0 && h.retired {
			h.session.Close()
		}
	}, nil
}

// tablesOf are the tables that any KPI of the pipeline reads.
func tablesOf(p *pipeline.Pipeline) []string {
	var names []string
	for _, kpi := range p.KPIs {
		names = append(names, kpi.Tables...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// parameters turns the texts of a question into values of the declared types; what the SQL does not name is left out.
func parameters(kpi *pipeline.KPI, q Query) (map[string]any, error) {
	params := map[string]any{}
	for name, text := range map[string]string{pipeline.ParamFrom: q.From, pipeline.ParamTo: q.To} {
		value, err := parse(pipeline.ParamDate, name, text)
		if err != nil {
			return nil, err
		}
		params[name] = value
	}
	declared := map[string]bool{}
	for _, p := range kpi.Params {
		declared[p.Name] = true
		text := ""
		if p.Default != nil {
			text = *p.Default
		}
		if given, ok := q.Parameters[p.Name]; ok {
			text = given
		}
		value, err := parse(p.Type, p.Name, text)
		if err != nil {
			return nil, err
		}
		params[p.Name] = value
	}
	for name := range q.Parameters {
		if !declared[name] {
			return nil, fmt.Errorf("%w: the KPI %s has no parameter %q; beside from and to it has %s", ErrParameter, kpi.Name, name, names(kpi.Params))
		}
	}
	return params, nil
}

func names(params []pipeline.Param) string {
	if len(params) == 0 {
		return "none"
	}
	list := make([]string, 0, len(params))
	for _, p := range params {
		list = append(list, p.Name)
	}
	return strings.Join(list, ", ")
}

// parse reads a parameter's text; empty is null.
func parse(t pipeline.ParamType, name, text string) (any, error) {
	if text == "" {
		return engine.Typed{Type: t.DuckDB()}, nil
	}
	var value any
	var err error
	switch t {
	case pipeline.ParamInteger:
		value, err = strconv.ParseInt(text, 10, 64)
	case pipeline.ParamBoolean:
		value, err = strconv.ParseBool(text)
	case pipeline.ParamDate:
		var day time.Time
		day, err = time.Parse(time.DateOnly, text)
		value = engine.Date(day)
	case pipeline.ParamDecimal:
		value, err = engine.ParseDecimal(text)
	default:
		value = text
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s = %q is no %s: %w", ErrParameter, name, text, t, err)
	}
	return value, nil
}
