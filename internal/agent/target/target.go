package target

import (
	"context"
	"log/slog"
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
type Target struct{}

// New checks the configuration; it doesn't connect. No error shows the URL.
func New(cfg Config, log *slog.Logger) (*Target, error) { return nil, nil }

// Contact connects or reuses a connection, inspects the instance and gives what
// can be planned. An error leaves the former facts in force.
func (t *Target) Contact(ctx context.Context) (*Facts, error) { return nil, nil }

// Warm reports whether a round on a database could begin without opening a
// connection. It is a hint: the answer may be old when it arrives.
func (t *Target) Warm(via string) bool { return false }

// Read runs one round: all plans given, which must have this Via and lane, on one
// connection, in one network round trip (one more when a Sync group failed).
// texts are the keys for a Dictionary's plan (queryid); without any it gives a
// frame of no rows. The readings are in the order of the plans, one each. err is
// not nil when nothing was read because there was no connection; every reading
// then has it as well. Frames are the caller's until Release.
func (t *Target) Read(ctx context.Context, via string, lane catalog.Lane, plans []Plan, texts []int64) ([]Reading, RoundStats, error) {
	return nil, RoundStats{}, nil
}

// Release gives the memory of the readings' frames back, to be used by later
// rounds of any target. Nothing may refer to the columns of the frames then
// (strings stay valid). Not calling it costs garbage collection, nothing else.
func Release(readings []Reading) {}

// ReasonOf gives the short word for an error of this package: connect, timeout,
// auth, gone, no_connect, too_many_connections, lock_timeout, statement_timeout,
// privilege, missing, not_loaded, extension_missing, not_extension, too_big,
// starting, recovery_conflict, reset, lost, failed. "" for nil.
func ReasonOf(err error) string { return "" }

// Close closes all connections; rounds at work end by themselves first, or with
// their ctx.
func (t *Target) Close() {}
