package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// stages runs the parts of a process in the order in which they were started and
// ends them in the opposite order, from source to sink: what consumes outlives
// what produces. The first part that ends by itself ends all. A part that ends late may
// use half of the grace; the other half belongs to those beneath it, above all to
// PostgreSQL, which would be left running.
type stages struct {
	outer context.Context // ends when the user wants to
	grace time.Duration
	hurry <-chan struct{} // closed when nothing is to be waited for that is not needed; nil: never

	mu    sync.Mutex
	list  []*stage
	first error
	ended chan struct{} // closed when everything is to end
	once  sync.Once
}

type stage struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
}

func newStages(ctx context.Context, grace time.Duration) *stages {
	s := &stages{outer: ctx, grace: grace, ended: make(chan struct{})}
	return s
}

// context is for work between stages; it ends with the user's wish to.
func (s *stages) context() context.Context { return s.outer }

// run starts a part. Its context does not end with the outer one: stop ends the
// parts one after another.
func (s *stages) run(name string, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.outer))
	st := &stage{name: name, cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	s.list = append(s.list, st)
	s.mu.Unlock()
	go func() {
		defer close(st.done)
		err := part(ctx)
		if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		s.stop(fmt.Errorf("%s: %w", name, err))
	}()
}

// ready starts a part and waits until it is ready, has failed, or the user has
// enough.
func (s *stages) ready(name string, part func(context.Context) error, ready <-chan struct{}) error {
	s.run(name, part)
	select {
	case <-ready:
		return nil
	case <-s.ended:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.first
	case <-s.outer.Done():
		return s.outer.Err()
	}
}

// stop makes everything end; the first reason counts.
func (s *stages) stop(reason error) {
	s.mu.Lock()
	if s.first == nil {
		s.first = reason
	}
	s.mu.Unlock()
	s.once.Do(func() { close(s.ended) })
}

// wait returns when everything has ended, at the latest grace after it was to.
func (s *stages) wait() error {
	select {
	case <-s.outer.Done():
		s.stop(s.outer.Err())
	case <-s.ended:
	}
	began := time.Now()
	s.mu.Lock()
	list := slices.Clone(s.list)
	s.mu.Unlock()
	for _, st := range slices.Backward(list) {
		st.cancel()
		st.within(time.Until(began.Add(s.grace/2)), s.hurry)
	}
	for _, st := range slices.Backward(list) {
		if !st.within(time.Until(began.Add(s.grace)), nil) {
			return errors.Join(s.reason(), fmt.Errorf("%s did not end within %s", st.name, s.grace))
		}
	}
	return s.reason()
}

// within waits for a part's end for some time, or until enough is closed.
func (st *stage) within(limit time.Duration, enough <-chan struct{}) bool {
	select {
	case <-st.done:
		return true
	default:
	}
	select {
	case <-st.done:
		return true
	case <-time.After(limit):
		return false
	case <-enough:
		return false
	}
}

func (s *stages) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}
