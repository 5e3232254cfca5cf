package measure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pganalytics/pganalytics/internal/pgserver"
)

// Place is the folder of a run, and what was started there.
type Place struct {
	Dir      string
	Binaries pgserver.Binaries

	account pgserver.Account
	warden  *exec.Cmd
	leash   *os.File // closed when we end, however we end

	mu       sync.Mutex // guards what follows
	servers  []*Server
	children []*Child
}

// warden waits until standard input ends, then ends every postmaster in the folder
// and removes it. After an orderly end only the folder is left to it.
const warden = `
dir=$1
read -r line
for f in "$dir"/*/postmaster.pid; do
	[ -e "$f" ] && kill -QUIT "$(head -n 1 "$f")" 2>/dev/null
done
for try in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf "$dir" 2>/dev/null
	[ -e "$dir" ] || exit 0
	sleep 1
done
`

// NewPlace makes a folder below /var/tmp, whose name begins with prefix.
func NewPlace(bin pgserver.Binaries, prefix string) (*Place, error) {
	account, err := pgserver.RunAs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/var/tmp", prefix)
	if err != nil {
		return nil, err
	}
	p := &Place{Dir: dir, Binaries: bin, account: account}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	defer read.Close()
	p.leash = write
	p.warden = exec.Command("/bin/sh", "-c", warden, "sh", dir)
	p.warden.Stdin, p.warden.SysProcAttr = read, &syscall.SysProcAttr{Setsid: true}
	if err := p.warden.Start(); err != nil {
		return nil, errors.Join(err, write.Close(), os.RemoveAll(dir))
	}
	if err := p.prepare(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Place) prepare() error {
	// The account that runs PostgreSQL passes it, and lists nothing.
	if err := os.Chmod(p.Dir, 0o711); err != nil {
		return err
	}
	if p.account.Passable(p.Binaries.Dir) == nil {
		return nil
	}
	// A clone below /root: that account can't get there.
	from, to := filepath.Dir(p.Binaries.Dir), p.Path("postgres")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy PostgreSQL %s: %w: %s", p.Binaries.Version, err, out)
	}
	p.Binaries.Dir = filepath.Join(to, filepath.Base(p.Binaries.Dir))
	return nil
}

// Path is a path in the folder.
func (p *Place) Path(names ...string) string {
	return filepath.Join(append([]string{p.Dir}, names...)...)
}

// Close ends the processes, the newest first, then the servers, and removes the folder.
func (p *Place) Close() error {
	p.StopChildren()
	p.mu.Lock()
	servers := p.servers
	p.servers = nil
	p.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(8)
	for _, s := range servers {
		group.Go(s.Stop)
	}
	err := group.Wait()
	_ = p.leash.Close()
	_ = p.warden.Wait() // it says nothing that the folder does not
	if _, gone := os.Stat(p.Dir); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("folder %s could not be removed", p.Dir))
	}
	return err
}

// Sleep waits unless ctx ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
