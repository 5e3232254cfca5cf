package pgserver

import (
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
	"strings"
	"time"
)

const (
	startRetry   = 30 * time.Second // how long the first start is tried against what may pass
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 10 * time.Second
	goodRun      = time.Minute // a run this long makes the next back-off short again
	socketLimit  = 107         // bytes of a Unix socket's path, without the final NUL
)

// StartError reports a server that ended before it took connections.
type StartError struct {
	Version, DataDir, LogFile string
	Reason                    string // the server's own last words
	transient                 bool   // a moment later it may work
}

func (e *StartError) Error() string {
	return fmt.Sprintf("start PostgreSQL %s on %s: %s (log: %s)", e.Version, e.DataDir, e.Reason, e.LogFile)
}

// Run makes the data directory if need be, starts the server and keeps it running until ctx
// ends; then it stops the server and returns nil. A server that ends by itself is started again,
// with back-off. A first start that fails is an error: *ImpassableError, *LockedError,
// *StartError or one of the file system.
func (s *Server) Run(ctx context.Context) error {
	if err := s.account.Passable(filepath.Dir(s.cfg.DataDir)); err != nil {
		return err
	}
	if err := s.account.Passable(s.cfg.Binaries.Dir); err != nil {
		return err
	}
	lock, err := lockFile(s.cfg.DataDir+".lock", s.cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := s.takeOver(ctx); err != nil {
		return unlessDone(ctx, fmt.Errorf("stop the PostgreSQL that runs on %s: %w", s.cfg.DataDir, err))
	}
	if err := s.prepare(ctx); err != nil {
		return unlessDone(ctx, err)
	}
	if s.cfg.Listen == "" {
		release, err := s.makeSocketDir()
		if err != nil {
			return err
		}
		defer release()
	}
	return s.supervise(ctx)
}

func (s *Server) supervise(ctx context.Context) error {
	began, wait := time.Now(), firstBackOff
	for {
		if err := s.choosePort(); err != nil {
			return err
		}
		started := time.Now()
		s.dropSocketFiles()
		err := s.runOnce(ctx)
		if ctx.Err() != nil {
			return err // nil unless the server could not be stopped
		}
		if s.Starts() == 0 {
			var failed *StartError
			if !errors.As(err, &failed) || !failed.transient || time.Since(began) > startRetry {
				return err
			}
		}
		if time.Since(started) > goodRun {
			wait = firstBackOff
		}
		s.cfg.Log.Warn("postgres ended, starting it again", "err", err, "wait", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		}
		wait = min(2*wait, lastBackOff)
		if err := s.takeOver(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("rests of postgres remain", "err", err)
		}
	}
}

// runOnce runs one postmaster from its start to its end. It returns nil only when ctx ended and
// the server was stopped.
func (s *Server) runOnce(ctx context.Context) error {
	log, err := openServerLog(s.cfg.DataDir + ".log")
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer log.close()
	cmd := exec.Command(s.cfg.Binaries.postgres(), s.arguments()...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), s.account.SysProcAttr()
	cmd.Stdout, cmd.Stderr = log.write, log.write
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL %s as user %s: %w", s.cfg.Binaries.Version, s.account.Name, err)
	}
	_ = log.write.Close()
	began, pid := time.Now(), cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer s.healthy.Store(false)

	look := time.NewTicker(poll)
	defer look.Stop()
	slow := time.NewTicker(10 * time.Second)
	defer slow.Stop()
	ready := false
	for {
		select {
		case err := <-ended:
			log.close()
			if !ready {
				return s.startFailure(err, log.last())
			}
			return fmt.Errorf("PostgreSQL ended (%s)", reason(err))
		case <-ctx.Done():
			s.healthy.Store(false)
			err := stop(s.cfg.Hurry, s.cfg.DataDir, pid, s.cfg.Grace, func() bool {
				select {
				case err := <-ended:
					ended <- err
					return true
				default:
					return false
				}
			})
			if err != nil {
				return fmt.Errorf("stop PostgreSQL: %w", err)
			}
			// A postmaster that had to be killed leaves its children behind.
			if err := endOrphans(context.WithoutCancel(ctx), s.cfg.DataDir); err != nil {
				return fmt.Errorf("stop PostgreSQL: %w", err)
			}
			s.cfg.Log.Info("postgres stopped", "pid", pid)
			return nil
		case <-slow.C:
			if !ready { // crash recovery takes as long as it takes
				s.cfg.Log.Info("postgres is recovering", "duration", time.Since(began).Round(time.Second), "dir", s.cfg.DataDir)
			}
		case <-look.C:
			if Postmaster(s.cfg.DataDir) != pid || !Accepts(s.cfg.DataDir) {
				continue
			}
			// From here on only the process's end matters, and cmd.Wait tells it.
			look.Stop()
			ready = true
			s.starts.Add(1)
			s.healthy.Store(true)
			s.cfg.Log.Info("postgres ready", "version", s.cfg.Binaries.Version, "pid", pid,
				"dir", s.cfg.DataDir, "duration", time.Since(began).Round(time.Millisecond))
			s.once.Do(func() { close(s.ready) })
		}
	}
}

// startFailure explains an end before readiness by the server's own log.
func (s *Server) startFailure(err error, lines []string) *StartError {
	e := &StartError{Version: s.cfg.Binaries.Version, DataDir: s.cfg.DataDir, LogFile: s.cfg.DataDir + ".log"}
	var words []string
	for _, line := range lines {
		for _, mark := range []string{"FATAL:  ", "PANIC:  ", "ERROR:  ", "DETAIL:  ", "HINT:  "} {
			if _, text, ok := strings.Cut(line, mark); ok {
				words = append(words, text)
			}
		}
	}
	if e.Reason = strings.Join(words, "; "); e.Reason == "" {
		e.Reason = fmt.Sprintf("it ended (%s): %s", reason(err), strings.Join(lines[max(0, len(lines)-3):], "; "))
	}
	all := strings.Join(lines, "\n")
	for _, mark := range []string{
		"already exists", "is still in use", "Address already in use", // rests of a killed server
		"Resource temporarily unavailable", "No space left on device", "Cannot allocate memory",
	} {
		e.transient = e.transient || strings.Contains(all, mark)
	}
	return e
}

func reason(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// unlessDone keeps an end that was asked for from looking like a failure.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// makeSocketDir makes the private folder of the Unix socket: beside the data, or below /tmp when
// that path is too long for a socket, or has a character that unix_socket_directories or a list of
// hosts gives a meaning.
func (s *Server) makeSocketDir() (release func(), err error) {
	dir := s.cfg.DataDir + ".socket"
	release = func() { _ = os.RemoveAll(dir) }
	if len(dir)+len("/.s.PGSQL.")+len(strconv.Itoa(socketPort)) <= socketLimit && !strings.ContainsAny(dir, `,"`) {
		err = os.Mkdir(dir, 0o700)
		if errors.Is(err, fs.ErrExist) {
			err = os.Chmod(dir, 0o700)
		}
	} else {
		dir, err = os.MkdirTemp("/tmp", "pganalytics-")
	}
	if err == nil {
		err = s.account.Own(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	s.mu.Lock()
	s.socket, s.port = dir, socketPort
	s.mu.Unlock()
	return release, nil
}

// dropSocketFiles removes what a killed postmaster left: its lock file names a process id that may
// by now be another's, which PostgreSQL takes for a living server. The caller knows that none runs.
func (s *Server) dropSocketFiles() {
	if s.socket == "" {
		return
	}
	names, _ := filepath.Glob(filepath.Join(s.socket, ".s.PGSQL.*")) // fails on a bad pattern only
	for _, name := range names {
		_ = os.Remove(name)
	}
}

// choosePort settles the TCP port: as configured, as at the last start, or a free one. Once the
// server has been ready the port is known to others and stays.
func (s *Server) choosePort() error {
	if s.cfg.Listen == "" || s.Starts() > 0 {
		return nil
	}
	file := s.cfg.DataDir + ".port"
	port := s.cfg.Port
	if port == 0 {
		text, err := os.ReadFile(file)
		if err == nil {
			port, _ = strconv.Atoi(strings.TrimSpace(string(text))) // damaged: choose anew
		}
		if port <= 0 || port > 65535 || !free(s.cfg.Listen, port) {
			if port, err = freePort(s.cfg.Listen); err != nil {
				return fmt.Errorf("choose a port on %s: %w", s.cfg.Listen, err)
			}
		}
		if err := writeDurably(file, []byte(strconv.Itoa(port)+"\n"), 0o644); err != nil {
			return fmt.Errorf("keep the port of %s: %w", s.cfg.DataDir, err)
		}
	}
	s.mu.Lock()
	s.port = port
	s.mu.Unlock()
	return nil
}

func free(host string, port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func freePort(host string) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
