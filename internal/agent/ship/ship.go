package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Limits of shipping.
const (
	maxRetryAfter   = 5 * time.Minute
	defaultBackoff  = time.Second
	requestTimeout  = 30 * time.Second
	conflictRetry   = 30 * time.Second
	maxBatches      = 500
	maxBytes        = 1 << 20
	strikesOut      = 5 // failures of one batch alone, others passing in between, until it is refused
	defaultLinger   = time.Second
	defaultGrace    = 3 * time.Second
	unknownLogEvery = time.Hour
)

// ErrForeign says that the backend holds a batch of this collector that its spool
// never made: the disk was restored or cloned, the collector needs a new identity.
var ErrForeign = errors.New("the backend has batches of this collector that its spool never made")

var errNoToken = errors.New("no registration token")

// Queue is the spool as shipping sees it. Its methods may be called while batches
// are appended.
type Queue interface {
	// Pending gives envelopes without a verdict, the newest one first, then the
	// oldest ones in order; at least one if there is any that skip does not leave
	// out, at most limit of together about bytes of data.
	Pending(ctx context.Context, limit, bytes int, skip func(frame.ID) bool) ([]*frame.Envelope, error)
	// Ack says that the backend has them; they may go.
	Ack(ids ...frame.ID)
	// Refuse moves a batch to dead/ and puts a gap in its place; a gap that is
	// refused too gives way to one without sums.
	Refuse(id frame.ID, reason string) error
	// Oldest is the tick of the oldest batch kept, microseconds; 0: none.
	Oldest() int64
	// Appended is signalled, without blocking, after batches were appended.
	Appended() <-chan struct{}
	// Made says whether this spool made that batch, as far as it remembers.
	Made(epoch, seq uint64) bool
}

// Identity is who the collector is to the backend.
type Identity interface {
	// Registration is what to register; it names the instances to claim.
	Registration() Registration
	// RegistrationToken is the token to register with.
	RegistrationToken() (string, error)
	// Token is the collector's own bearer token, "" before registration.
	Token() string
	// SaveToken keeps it durably.
	SaveToken(token string) error
	// Granted learns which instances are ours, and who holds the others.
	Granted(granted []string, conflicts []Conflict)
}

// Config is what a Shipper needs.
type Config struct {
	URL    string // of the backend
	Client *http.Client
	Queue  Queue
	Identity
	Log *slog.Logger
	// Linger is how long a first batch waits for company; 0: a second.
	Linger time.Duration
	// Backoff bounds the first wait after a failure, 60 times it any later one;
	// 0: a second.
	Backoff time.Duration
	// Grace bounds what is still sent after the end of Run's context; 0: 3 s.
	Grace time.Duration
}

// Status is a snapshot for metrics and logs.
type Status struct {
	Registered   bool
	Checked      bool      // the backend's newest batch is one of ours
	Requests     uint64    // pushes tried
	Failures     uint64    // of them without a verdict
	Acknowledged uint64    // batches stored (or had already)
	Refused      uint64    // batches refused for good
	Bytes        uint64    // bodies of pushes that got verdicts
	LastSuccess  time.Time // of a push
	LastFailure  string    // "" after a success
	Conflicts    []Conflict
}

// Shipper pushes one collector's batches.
type Shipper struct {
	cfg    Config
	client *client

	// Of Run's goroutine.
	claimed     bool // registered by this process, or not able to
	checked     bool
	nextClaim   time.Time // when to register again because of conflicts
	size        int       // batches per request, halved by failures
	newestTurn  bool      // while size is reduced: the last request was of the newest batch alone
	failures    int       // in a row
	passes      uint64
	strikes     map[frame.ID]*strike
	body        []byte
	unknownSeen map[string]time.Time

	mu     sync.Mutex // guards status
	status Status
}

// strike is the record of a batch that got no verdict.
type strike struct {
	n      int
	passes uint64 // Shipper.passes at the last one
	until  time.Time
}

// New makes a Shipper.
func New(cfg Config) *Shipper {
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = defaultBackoff
	}
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	return &Shipper{
		cfg: cfg, client: newClient(cfg.URL, cfg.Client), size: maxBatches,
		strikes: map[frame.ID]*strike{}, unknownSeen: map[string]time.Time{},
	}
}

// Status gives a snapshot.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Shipper) note(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

// Run pushes until ctx ends, then tries once more within the grace. It returns nil
// then, ErrForeign when the collector needs a new identity, or an error of the
// spool.
func (s *Shipper) Run(ctx context.Context) error {
	// Requests outlive ctx by the grace: what is under way should get its verdict.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var ending sync.Mutex
	var timer *time.Timer
	stop := context.AfterFunc(ctx, func() {
		ending.Lock()
		defer ending.Unlock()
		timer = time.AfterFunc(s.cfg.Grace, cancel)
	})
	defer func() {
		stop()
		ending.Lock()
		defer ending.Unlock()
		if timer != nil {
			timer.Stop()
		}
	}()

	for ctx.Err() == nil {
		wait, idle, err := s.step(requests)
		if err != nil {
			return err
		}
		if !s.sleep(ctx, wait, idle) {
			break
		}
	}
	for requests.Err() == nil { // what is left, without waiting
		wait, _, err := s.step(requests)
		if err != nil || wait > 0 {
			return err
		}
	}
	return nil
}

// sleep waits; idle means that an appended batch ends it (after the linger). It
// says whether ctx still lives.
func (s *Shipper) sleep(ctx context.Context, wait time.Duration, idle bool) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	var appended <-chan struct{}
	if idle {
		appended = s.cfg.Queue.Appended()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-appended:
	}
	timer.Reset(min(s.cfg.Linger, wait))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step does one thing. It gives how long to wait before the next; idle: there is
// nothing to do until a batch is appended. An error is one that Run can't go on
// with.
func (s *Shipper) step(ctx context.Context) (wait time.Duration, idle bool, err error) {
	switch {
	case !s.claimed || s.cfg.Token() == "":
		// At each start: names, labels and version may have changed.
		err := s.register(ctx)
		var answered *StatusError
		if err != nil && s.cfg.Token() != "" && (errors.Is(err, errNoToken) || errors.Is(err, ErrUnauthorized) || errors.As(err, &answered) && answered.Status < 500) {
			// The registration token may have been taken away since.
			s.cfg.Log.WarnContext(ctx, "not registered again, going on with the collector's own token", "err", err)
			err = nil
		}
		if err != nil {
			return s.failed(ctx, err), false, nil
		}
		s.claimed = true
	case !s.checked:
		err := s.check(ctx)
		if errors.Is(err, ErrForeign) {
			return 0, false, err
		}
		s.rejected(ctx, err)
		if err != nil {
			return s.failed(ctx, err), false, nil
		}
	case !s.nextClaim.IsZero() && time.Now().After(s.nextClaim):
		s.nextClaim = time.Now().Add(conflictRetry)
		if err := s.register(ctx); err != nil {
			return s.failed(ctx, err), false, nil
		}
	default:
		return s.push(ctx)
	}
	s.failures = 0
	return 0, false, nil
}

func (s *Shipper) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := s.cfg.RegistrationToken()
	if err != nil {
		return fmt.Errorf("register: %w: %w", errNoToken, err)
	}
	r := s.cfg.Registration()
	answer, err := s.client.register(ctx, token, r)
	if err != nil {
		return err
	}
	if err := s.cfg.SaveToken(answer.Token); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	var granted []string
	for _, i := range answer.Instances {
		granted = append(granted, i.Name)
	}
	s.nextClaim = time.Time{}
	if len(answer.Conflicts) > 0 {
		s.nextClaim = time.Now().Add(conflictRetry)
	}
	first := !s.Status().Registered
	known := map[string]bool{}
	for _, c := range s.Status().Conflicts {
		known[c.Instance+"\x00"+c.Holder] = true
	}
	s.note(func(st *Status) { st.Registered, st.Conflicts = true, answer.Conflicts })
	if first {
		s.cfg.Log.InfoContext(ctx, "registered", "backend", s.cfg.URL, "instances", len(granted), "conflicts", len(answer.Conflicts))
	}
	for _, c := range answer.Conflicts {
		if !known[c.Instance+"\x00"+c.Holder] {
			s.cfg.Log.WarnContext(ctx, "instance is held by another collector", "instance", c.Instance, "holder", c.Holder, "silent", c.SilentSeconds)
		}
	}
	s.cfg.Granted(granted, answer.Conflicts)
	return nil
}

// check compares the newest batch that the backend has of us with our memory.
func (s *Shipper) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	epoch, seq, err := s.client.newest(ctx, s.cfg.Token())
	if err != nil {
		return err
	}
	if seq != 0 && !s.cfg.Queue.Made(epoch, seq) {
		return fmt.Errorf("%w: epoch %016x, number %d", ErrForeign, epoch, seq)
	}
	s.checked = true
	s.note(func(st *Status) { st.Checked = true })
	return nil
}

// rejected forgets a token that the backend does not accept: it lost its tokens, or
// withdrew this one. Then the collector registers again.
func (s *Shipper) rejected(ctx context.Context, err error) {
	if !errors.Is(err, ErrUnauthorized) {
		return
	}
	if err := s.cfg.SaveToken(""); err != nil {
		s.cfg.Log.WarnContext(ctx, "token not removed", "err", err)
	}
}

// failed logs a failure and gives how long to back off.
func (s *Shipper) failed(ctx context.Context, err error) time.Duration {
	s.failures++
	wait := s.backoff(s.failures)
	var status *StatusError
	if errors.As(err, &status) && status.RetryAfter > 0 {
		// A little later than asked for, not all at the same moment.
		wait = status.RetryAfter + rand.N(status.RetryAfter/10+time.Millisecond)
	}
	s.note(func(st *Status) { st.LastFailure = err.Error() })
	level := slog.LevelWarn
	if s.failures > 1 && s.failures%20 != 0 { // an outage is said once, and now and then
		level = slog.LevelDebug
	}
	s.cfg.Log.Log(ctx, level, "backend not reached", "err", err, "attempts", s.failures, "wait", wait.Round(time.Millisecond))
	return wait
}

// backoff is full jitter: anything up to the exponential bound.
func (s *Shipper) backoff(failures int) time.Duration {
	bound := 60 * s.cfg.Backoff
	if failures < 7 {
		bound = min(bound, s.cfg.Backoff<<(failures-1))
	}
	return rand.N(bound) + s.cfg.Backoff/100
}
