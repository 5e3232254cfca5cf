package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config describes one private server.
type Config struct {
	Binaries Binaries // from Find
	// DataDir is made when it does not exist. Its parent must exist, and the account of RunAs
	// must be able to pass it.
	DataDir string
	// Listen is the address to listen on, "127.0.0.1"; empty means a Unix socket only.
	Listen string
	// Port to listen on; 0 chooses a free one at the first start and keeps it as long as nobody
	// else takes it. Ignored without Listen.
	Port int
	// Superuser is the role initdb makes; empty means "pganalytics".
	Superuser string
	// Settings are server settings by name; they win over those of this package.
	Settings map[string]string
	// NoSync turns fsync off: tests and throw-away data only.
	NoSync bool
	// Grace is how long a shutdown waits for sessions to end before it becomes an immediate
	// one (SIGQUIT); 2 s later the server is killed. 0 means 10 s.
	Grace time.Duration
	// Hurry, when it is closed, ends the Grace. nil: nothing does.
	Hurry <-chan struct{}
	// Log gets starts, ends and restarts; nil discards. The server's own log goes to DataDir.log.
	Log *slog.Logger
}

// Server is a private PostgreSQL server. Its one verb is Run.
type Server struct {
	cfg     Config
	account Account
	ready   chan struct{} // closed when the server first takes connections
	once    sync.Once
	healthy atomic.Bool
	starts  atomic.Int64

	mu       sync.Mutex // guards what follows, which Run sets before ready is closed
	password string
	socket   string // folder of the Unix socket, empty with Listen
	port     int
}

// socketPort only names the socket's file; without Listen no TCP port is opened.
const socketPort = 5432

// New checks a configuration; it touches nothing on disk.
func New(cfg Config) (*Server, error) {
	if cfg.Binaries.Dir == "" {
		return nil, errors.New("a PostgreSQL server needs programs: call Find first")
	}
	if cfg.DataDir == "" {
		return nil, errors.New("a PostgreSQL server needs a data directory")
	}
	abs, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	cfg.DataDir = abs
	if cfg.Port < 0 || cfg.Port > 65535 {
		return nil, fmt.Errorf("port %d is not from 0 to 65535", cfg.Port)
	}
	if cfg.Superuser == "" {
		cfg.Superuser = "pganalytics"
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	account, err := RunAs()
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, account: account, ready: make(chan struct{})}, nil
}

// Ready is closed when the server takes connections for the first time; URL is valid from then
// on. If Run fails before, it stays open: wait for Run's return as well.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Healthy says whether the server runs and takes connections now.
func (s *Server) Healthy() bool { return s.healthy.Load() }

// Starts counts how often the server became ready: 1 when it was never restarted.
func (s *Server) Starts() int { return int(s.starts.Load()) }

// URL addresses a database as the superuser. It contains the password.
func (s *Server) URL(database string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(s.cfg.Superuser, s.password), Path: "/" + database}
	if s.cfg.Listen != "" {
		u.Host = net.JoinHostPort(s.cfg.Listen, strconv.Itoa(s.port))
		u.RawQuery = "sslmode=disable"
	} else {
		// A path's space is %20: libpq and pgx take "+" for itself.
		u.RawQuery = strings.ReplaceAll(url.Values{"host": {s.socket}, "port": {strconv.Itoa(socketPort)}}.Encode(), "+", "%20")
	}
	return u.String()
}

// Addr is host:port of a server that listens on TCP, "" for one on a Unix socket. Valid when
// Ready is closed.
func (s *Server) Addr() string {
	if s.cfg.Listen == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return net.JoinHostPort(s.cfg.Listen, strconv.Itoa(s.port))
}

// Version is the server's version, "16.14".
func (s *Server) Version() string { return s.cfg.Binaries.Version }

// CreateDatabase makes a database unless it is there.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the private PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
		return fmt.Errorf("look for database %s: %w", name, err)
	}
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// arguments of the postmaster. They are visible to everyone on the machine: no secret belongs here.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"listen_addresses":        s.cfg.Listen,
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": s.socket,
		"log_destination":         "stderr",
		"logging_collector":       "off",
		"log_line_prefix":         "%m [%p] %q%u@%d ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"lc_messages":             "C", // startFailure reads the log
	}
	if s.cfg.NoSync {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, s.cfg.Settings)
	args := []string{"-D", s.cfg.DataDir}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// environment is ours without PG* variables, which would change what the programs do.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	return append(env, "LC_ALL=C")
}

func randomPassword() string { return rand.Text() }
