package measure

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// Server is a private PostgreSQL of a Place.
type Server struct {
	*pgserver.Server
	dir  string
	stop context.CancelFunc
	done chan struct{}
	err  error // valid when done is closed
}

// Start runs a server in the folder's name until Stop or Close; it listens on the
// loopback address. ctx only bounds the start.
func (p *Place) Start(ctx context.Context, name string, durable bool, settings map[string]string) (*Server, error) {
	srv, err := pgserver.New(pgserver.Config{Binaries: p.Binaries, DataDir: p.Path(name), Listen: "127.0.0.1", Superuser: "postgres", Settings: settings, NoSync: !durable, Grace: 3 * time.Second})
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{Server: srv, dir: p.Path(name), stop: stop, done: make(chan struct{})}
	go func() {
		s.err = srv.Run(run)
		close(s.done)
	}()
	select {
	case <-srv.Ready():
	case <-s.done:
		stop()
		return nil, fmt.Errorf("start the server %s: %w", name, s.err)
	case <-ctx.Done():
		_ = s.Stop()
		return nil, ctx.Err()
	}
	p.mu.Lock()
	p.servers = append(p.servers, s)
	p.mu.Unlock()
	return s, nil
}

// Stop ends the server; more than once does no harm.
func (s *Server) Stop() error {
	s.stop()
	<-s.done
	return s.err
}

// Copies starts servers from a stopped one's data, a few at a time: so initdb and what
// was filled in are paid once.
func (p *Place) Copies(ctx context.Context, template string, names []string, settings map[string]string) ([]*Server, error) {
	out := make([]*Server, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, name := range names {
		group.Go(func() (err error) {
			for _, file := range []string{"", ".password"} {
				cp := exec.CommandContext(ctx, "cp", "-a", p.Path(template)+file, p.Path(name)+file)
				if text, err := cp.CombinedOutput(); err != nil {
					return fmt.Errorf("copy the server %s: %w: %s", template, err, text)
				}
			}
			out[i], err = p.Start(ctx, name, false, settings)
			return err
		})
	}
	return out, group.Wait()
}

// URLAs addresses the database postgres as a role with a password.
func (s *Server) URLAs(role, password string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: s.Addr(), Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

// CPU is the CPU time of all processes of the server, those that have ended included.
func (s *Server) CPU() (time.Duration, error) {
	pid := pgserver.Postmaster(s.dir)
	if pid == 0 {
		return 0, fmt.Errorf("no server runs on %s", s.dir)
	}
	// Those that ended are in the postmaster's own account: the time of the children that
	// it waited for, in units of 10 ms. A backend that ends between the two readings is
	// missed once; there are few.
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	var total time.Duration
	for _, f := range fields[13:15] { // cutime, cstime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		total += time.Duration(ticks) * 10 * time.Millisecond
	}
	for _, pid := range s.processes() {
		if used, err := CPU(pid); err == nil { // else it has just ended
			total += used
		}
	}
	return total, nil
}

// processes are the server's live ones.
func (s *Server) processes() []int { return pgserver.Below(s.dir) }

// Memory is what the server's processes take together: the sum of their proportional
// shares (Pss), so that shared buffers count once.
func (s *Server) Memory() (int64, error) {
	var total int64
	for _, pid := range s.processes() {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
		if err != nil {
			continue // it has just ended
		}
		n, err := kilobytes(string(text), "Pss")
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		total += n
	}
	return total, nil
}
