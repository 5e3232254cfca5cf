package target

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/counter"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// Config is what a Target needs to know of an instance.
type Config struct {
	Name string // the instance's name
	// URL is postgres://USER[:PASSWORD]@HOST[:PORT][/DATABASE][?sslmode=…]; the
	// database ("postgres" when there is none) is home, where it connects first.
	URL      Secret
	Password Secret // wins over the URL's; "" leaves that one, or a passfile's
	// Databases are globs (path.Match); none means all. They choose the databases
	// that families of scope database are read in.
	Databases []string
	Labels    map[string]string
	Interval  time.Duration // goes into Facts.Server
	Pool      Pool
	Limits    Limits
	// Enabled says whether a family is read at all; nil means every one.
	Enabled func(family string) bool
}

// Pool bounds the connections to an instance.
type Pool struct {
	Min, Max    int           // Min stay open; Max bounds all open ones, at least 1
	IdleTimeout time.Duration // idle ones beyond Min are closed after it
}

// Limits end what takes too long.
type Limits struct {
	Lock, Statement, Connect time.Duration
}

// Facts is what was found on an instance.
type Facts struct {
	Server    frame.Server // Incarnation is the agent's to keep
	Database  string       // home
	Databases []DB         // those that Config.Databases chooses, by name
	Plans     []Plan       // every family that SQL reads, also those that can't be (Reason)
	Superuser bool         // the role could do harm; --check tells
	ReadFiles bool         // likewise: pg_read_server_files and the like
	Pooled    bool         // reached through a transaction pooler
}

// DB is a database of an instance.
type DB struct {
	OID         uint32
	Name        string
	Connectable bool
	Reason      string // why not: no_connect
	Detail      string
	Remedy      string
}

// Plan is one family to be read: once for the instance (Database "") or in one
// database. With a Reason it can't be read and Via is "".
type Plan struct {
	Family   *catalog.Family
	Database string
	Via      string // the database whose connection it is read on
	Lane     catalog.Lane
	// Reason, Limit, Detail, Remedy and Absent are as in frame.Schedule.
	Reason string
	Limit  string
	Detail string
	Remedy string
	Absent []string

	query *query
}

// Reading is what a round got of one plan.
type Reading struct {
	// Plan is the plan given, with what this round learned (Limit, Absent).
	Plan Plan
	// Reading is the counter's: zero when Err is not nil.
	counter.Reading
	// At is the watched server's clock at the head of the plan's Sync group,
	// microseconds since the Unix epoch; 0 when it never began.
	At int64
	// Err says why nothing was read; Reason is its short word (see ReasonOf).
	Err    error
	Reason string

	buffer *buffer
}

// RoundStats is what a round cost and noticed.
type RoundStats struct {
	RoundTrips  int           // network round trips, without those of connecting
	ServerTime  time.Duration // between first and last statement, watched server's clock
	Connects    int           // connections opened
	ConnectTime time.Duration
	Acquires    int           // connections taken from the pool, opened ones included
	AcquireTime time.Duration // waiting for them, opening included
	PoolOpen    int           // after the round
	PoolBusy    int           // in the round, this one included
	PoolMax     int
	// SystemID, PostmasterStart and InRecovery are those of this round, zero when
	// nothing answered.
	SystemID        uint64
	PostmasterStart int64 // microseconds since the Unix epoch
	InRecovery      bool
	// Changed: databases, privileges, extensions, columns or the server itself are
	// not as Contact found them; Contact is to be called before the next round.
	Changed bool
}

// Target is one watched instance. Its methods may be called from any goroutine;
// two rounds of one lane go one after another.
type Target struct {
	cfg      Config
	log      *slog.Logger
	home     string
	pool     *pool
	settings string // target list of the common head
	head     *stmt
	lanes    map[catalog.Lane]chan struct{}

	mu        sync.Mutex
	facts     *Facts
	extension map[string]*extInDB // by database: what Contact found of extensions
	watched   map[string]string   // by database: what the watch gave
	missing   map[string][]string // by planKey: columns that are not there
	queries   map[string]*query   // by planKey: as last compiled
	alone     map[string]bool     // by planKey: failed in its group, until it recovers
	last      map[string]bool     // by planKey: broke the connection; read after all others
	pooled    bool                // named statements don't survive: a transaction pooler
	warned    bool                // of the role's powers
	checked   map[string]bool     // by the name of a family's statement: home parses it whole
	version   catalog.Version     // the server's major
}

// planKey names a plan: what a family is in another database may differ.
func planKey(family, database string) string { return family + "\x00" + database }

func (p *Plan) key() string { return planKey(p.Family.Name, p.Database) }

// New checks the configuration; it doesn't connect. No error shows the URL.
func New(cfg Config, log *slog.Logger) (*Target, error) {
	base, err := parseURL(cfg.URL, cfg.Password)
	if err != nil {
		return nil, fmt.Errorf("instance %s: url: %w", cfg.Name, err)
	}
	// Whatever the URL says of it: connecting has one limit.
	cfg.Limits.Connect = cmp.Or(base.ConnectTimeout, cfg.Limits.Connect, 5*time.Second)
	base.ConnectTimeout = 0
	cfg.Limits.Lock = cmp.Or(cfg.Limits.Lock, 100*time.Millisecond)
	cfg.Limits.Statement = cmp.Or(cfg.Limits.Statement, 5*time.Second)
	cfg.Pool.Max = cmp.Or(cfg.Pool.Max, 10)
	cfg.Pool.IdleTimeout = cmp.Or(cfg.Pool.IdleTimeout, 5*time.Minute)
	if cfg.Pool.Max < 1 || cfg.Pool.Min < 0 || cfg.Pool.Min > cfg.Pool.Max {
		return nil, fmt.Errorf("instance %s: pool: %d to %d connections", cfg.Name, cfg.Pool.Min, cfg.Pool.Max)
	}
	pool, err := newPool(base, cfg.Pool, cfg.Limits.Connect)
	if err != nil {
		return nil, fmt.Errorf("instance %s: make the connection pool: %w", cfg.Name, err)
	}
	settings := settingsSQL(cfg.Limits)
	return &Target{
		cfg: cfg, log: log.With("instance", cfg.Name), home: base.Database, pool: pool,
		settings: settings, head: headStmt(settings, ""),
		lanes:     map[catalog.Lane]chan struct{}{catalog.Fast: make(chan struct{}, 1), catalog.Slow: make(chan struct{}, 1)},
		extension: map[string]*extInDB{}, watched: map[string]string{}, missing: map[string][]string{}, checked: map[string]bool{}, queries: map[string]*query{},
		alone: map[string]bool{}, last: map[string]bool{},
	}, nil
}

// Warm reports whether a round on a database could begin without opening a
// connection. It is a hint: the answer may be old when it arrives.
func (t *Target) Warm(via string) bool { return t.pool.warm(via) }

// Close closes all connections; rounds at work end by themselves first, or with
// their ctx.
func (t *Target) Close() { t.pool.close() }

// enter waits for the lane.
func (t *Target) enter(ctx context.Context, lane catalog.Lane) error {
	select {
	case t.lanes[lane] <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fail(reasonConnect, "wait for the round before", context.Cause(ctx))
	}
}

func (t *Target) leave(lane catalog.Lane) { <-t.lanes[lane] }

// patience is how long a statement may take to answer: more than the server's own
// limits allow, so the connection is dead then.
func (t *Target) patience() time.Duration { return t.cfg.Limits.Statement + 2*time.Second }

func (t *Target) isPooled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pooled
}

// setPooled is for good: an instance is reached as its URL says.
func (t *Target) setPooled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.pooled {
		t.pooled = true
		t.log.Info("transaction pooler found, statements are not prepared by name")
	}
}
