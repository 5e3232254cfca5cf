package app

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/server/api"
)

// startup records the steps of a start, for the terminal and the first-run page.
type startup struct {
	began time.Time
	out   io.Writer

	mu    sync.Mutex
	steps []step
}

type step struct {
	name, state, detail string
	began               time.Time
	took                time.Duration
}

func newStartup(out io.Writer) *startup { return &startup{began: time.Now(), out: out} }

// begin opens a step and gives the function that ends it.
func (s *startup) begin(name, detail string) (end func(detail string, err error)) {
	s.mu.Lock()
	i := len(s.steps)
	s.steps = append(s.steps, step{name: name, state: "running", detail: detail, began: time.Now()})
	s.mu.Unlock()
	return func(detail string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		st := &s.steps[i]
		st.state, st.detail, st.took = "done", detail, time.Since(st.began)
		mark := "ok"
		if err != nil {
			st.state, st.detail, mark = "failed", err.Error(), "failed"
		}
		fmt.Fprintf(s.out, "  %-10s %-6s %s (%.2f s)\n", st.name, mark, st.detail, st.took.Seconds())
	}
}

// report is the start as the first-run page shows it.
func (s *startup) report() api.Startup {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := api.Startup{Started: s.began}
	for _, st := range s.steps {
		took := st.took
		if st.state == "running" {
			took = time.Since(st.began)
		}
		seconds := took.Seconds()
		out.Steps = append(out.Steps, api.StartupStep{Name: st.name, State: api.StartupStepState(st.state), Detail: st.detail, Seconds: &seconds})
	}
	return out
}
