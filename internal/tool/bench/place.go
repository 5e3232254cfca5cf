package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// place is the folder of a run and the servers in it.
type place struct {
	dir     string
	bin     pgserver.Binaries
	account pgserver.Account
	warden  *exec.Cmd
	leash   *os.File // closed when we end, however we end
	servers []*server
	mu      sync.Mutex // guards port
	port    int        // last one given
}

// Ports of servers: below the system's ephemeral ones, so that no outgoing
// connection takes one before its server does.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

// server is a watched PostgreSQL.
type server struct {
	dir  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *server) url(role string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", role, s.port)
}

// warden waits until standard input ends, then ends every postmaster in the folder
// and removes it. After an orderly end only the folder is left to it.
const warden = `
dir=$1
read -r line
for f in "$dir"/*/postmaster.pid "$dir"/*/*/postmaster.pid; do
	[ -e "$f" ] && kill -QUIT "$(head -n 1 "$f")" 2>/dev/null
done
for try in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$dir" 2>/dev/null
	[ -e "$dir" ] || exit 0
	sleep 1
done
`

func newPlace(postgres string) (*place, error) {
	account, err := pgserver.RunAs()
	if err != nil {
		return nil, err
	}
	found := pgserver.Installed(postgres)
	if len(found) == 0 {
		return nil, fmt.Errorf("no PostgreSQL in %s: scripts/setup.sh bench fetches one", postgres)
	}
	dir, err := os.MkdirTemp("/var/tmp", "pganalytics-bench-")
	if err != nil {
		return nil, err
	}
	// Another benchmark on this machine begins elsewhere.
	p := &place{dir: dir, bin: found[0], account: account, port: firstPort + rand.IntN(lastPort-firstPort)}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	p.leash = write
	p.warden = exec.Command("/bin/sh", "-c", warden, "sh", dir)
	p.warden.Stdin, p.warden.SysProcAttr = read, &syscall.SysProcAttr{Setsid: true}
	if err := p.warden.Start(); err != nil {
		return nil, errors.Join(err, write.Close(), os.RemoveAll(dir))
	}
	if err := p.prepare(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *place) prepare() error {
	if err := os.Chmod(p.dir, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(p.path("servers"), 0o711); err != nil {
		return err
	}
	if err := p.account.Own(p.path("servers")); err != nil {
		return err
	}
	if p.account.Passable(p.bin.Dir) == nil {
		return nil
	}
	// A clone below /root: the account that runs PostgreSQL can't get there.
	if out, err := exec.Command("cp", "-a", filepath.Dir(p.bin.Dir), p.path("postgres")).CombinedOutput(); err != nil {
		return fmt.Errorf("copy PostgreSQL %s: %w: %s", p.bin.Version, err, out)
	}
	p.bin.Dir = p.path("postgres", filepath.Base(p.bin.Dir))
	return nil
}

func (p *place) path(names ...string) string {
	return filepath.Join(append([]string{p.dir}, names...)...)
}

// close stops all servers and removes the folder.
func (p *place) close() error {
	var group errgroup.Group
	group.SetLimit(8)
	for _, s := range p.servers {
		group.Go(func() error { s.stop(); return nil })
	}
	_ = group.Wait()
	_ = p.leash.Close()
	_ = p.warden.Wait()
	if _, err := os.Stat(p.dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("folder %s could not be removed", p.dir)
	}
	return nil
}

func (s *server) stop() {
	for _, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		select {
		case <-s.done:
			return
		default:
		}
		_ = s.cmd.Process.Signal(how)
		select {
		case <-s.done:
			return
		case <-time.After(10 * time.Second):
		}
	}
}

// settings of the watched servers: small, and quiet when nobody asks.
const settings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track_utility = off
shared_buffers = 8MB
max_connections = 30
max_wal_senders = 0
wal_level = minimal
max_logical_replication_workers = 0
max_wal_size = 32MB
min_wal_size = 2MB
autovacuum_naptime = 1h
bgwriter_delay = 10s
wal_writer_delay = 10s
checkpoint_timeout = 1h
fsync = off
full_page_writes = off
jit = off
log_checkpoints = off
`

// template makes the data directory that all watched servers are copied from.
func (p *place) template(ctx context.Context, fill func(ctx context.Context, url string) error) (string, error) {
	dir := p.path("servers", "template")
	initdb := exec.CommandContext(ctx, filepath.Join(p.bin.Dir, "initdb"), "-D", dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
	initdb.Dir, initdb.SysProcAttr = "/", p.account.SysProcAttr()
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	_, err = conf.WriteString(settings)
	if err := errors.Join(err, conf.Close()); err != nil {
		return "", err
	}
	s, err := p.start(ctx, dir, p.freePort())
	if err != nil {
		return "", err
	}
	err = fill(ctx, s.url("postgres"))
	s.stop()
	return dir, err
}

// copies starts n servers from the template, four at a time; settings ("name=value")
// win over the template's.
func (p *place) copies(ctx context.Context, template string, n int, settings ...string) ([]*server, error) {
	out := make([]*server, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range out {
		dir := p.path("servers", strconv.Itoa(len(p.servers)+i))
		group.Go(func() (err error) {
			if text, err := exec.CommandContext(ctx, "cp", "-a", template, dir).CombinedOutput(); err != nil {
				return fmt.Errorf("copy the template: %w: %s", err, text)
			}
			for range 5 {
				if out[i], err = p.start(ctx, dir, p.freePort(), settings...); !errors.Is(err, errPortTaken) {
					break
				}
			}
			return err
		})
	}
	err := group.Wait()
	for _, s := range out {
		if s != nil {
			p.servers = append(p.servers, s)
		}
	}
	return out, err
}

var errPortTaken = errors.New("the port was taken")

// start runs a server; with an error it does not run.
func (p *place) start(ctx context.Context, dir string, port int, settings ...string) (*server, error) {
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{dir: dir, port: port, done: make(chan struct{})}
	args := []string{"-D", dir}
	for _, set := range append(settings, "port="+strconv.Itoa(port)) {
		args = append(args, "-c", set)
	}
	s.cmd = exec.Command(filepath.Join(p.bin.Dir, "postgres"), args...)
	s.cmd.Dir, s.cmd.SysProcAttr, s.cmd.Stdout, s.cmd.Stderr = "/", p.account.SysProcAttr(), log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if pgserver.Postmaster(dir) == s.cmd.Process.Pid && pgserver.Accepts(dir) {
			return s, nil
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(dir + ".log")
			err := fmt.Errorf("PostgreSQL on port %d did not start: %s", port, bytes.TrimSpace(text[max(0, len(text)-1000):]))
			if bytes.Contains(text, []byte("could not create any TCP/IP sockets")) {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return nil, err
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.stop()
	return nil, fmt.Errorf("PostgreSQL on port %d takes more than a minute to start", port)
}

// freePort gives the next port that nobody has.
func (p *place) freePort() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.port++; p.port >= lastPort {
			p.port = firstPort
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
		if err == nil {
			_ = l.Close()
			return p.port
		}
	}
}
