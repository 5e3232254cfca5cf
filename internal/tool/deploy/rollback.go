package deploy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// manual is what is left when no image of an older version is there.
const manual = `by hand, from the commit to go back to (data stay):
  git checkout COMMIT
  docker-compose build
  docker-compose up -d`

// Rollback brings the last known good version back: its images and configuration.
// Data are kept; full also makes the volumes anew, after asking.
func (d *Deploy) Rollback(ctx context.Context, full bool) error {
	release, err := d.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := d.recover(ctx); err != nil {
		return err
	}
	last, to := d.state.last(), d.state.lastKnownGood()
	if to == nil {
		return fmt.Errorf("no earlier version is recorded in %s; %s", filepath.Join(stateDir, stateFile), manual)
	}
	if full {
		if err := d.confirm("the volumes of " + d.Dir + " will be removed: all metrics, users and unsent batches are lost"); err != nil {
			return err
		}
	}
	return d.back(ctx, last, to, full)
}

// goBack is the automatic rollback after a failed deployment.
func (d *Deploy) goBack(ctx context.Context, r *Record) error {
	to := d.state.lastKnownGood()
	if to == nil {
		fmt.Fprintf(d.Out, "there is no earlier version to go back to; %s\n", manual)
		return nil
	}
	return d.back(ctx, r, to, false)
}

func (d *Deploy) back(ctx context.Context, from, to *Record, full bool) error {
	begun := d.Now()
	if err := d.step(nil, "rolling back from %s to %s", from.Commit, to.Commit); err != nil {
		return err
	}
	for _, s := range built {
		if !d.stack.hasImage(ctx, image(s, to.Commit)) {
			return fmt.Errorf("the image %s is gone; %s", image(s, to.Commit), manual)
		}
	}
	// The backups of a deployment hold what it was deployed with.
	for _, f := range []struct{ backup, file string }{{to.ConfigBackup, configFile}, {to.ComposeBackup, composeFile}} {
		if f.backup == "" || !exists(filepath.Join(d.Dir, f.backup)) {
			d.sayf("no backup of %s of that time: it stays as it is", f.file)
			continue
		}
		same, err := sameFile(filepath.Join(d.Dir, f.backup), filepath.Join(d.Dir, f.file))
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if err := d.stack.do(ctx, "cp", "-p", f.backup, f.file); err != nil {
			return err
		}
		d.sayf("%s is that of %s again", f.file, to.Commit)
	}
	if err := d.tag(ctx, to.Commit); err != nil {
		return err
	}
	if full {
		if _, err := d.stack.run(ctx, d.stack.compose("", "down", "-v", "--remove-orphans")); err != nil {
			return err
		}
		if _, err := d.stack.run(ctx, d.stack.compose("", "up", "-d")); err != nil {
			return err
		}
	} else if _, err := d.stack.run(ctx, d.stack.compose("", append([]string{"up", "-d", "--no-deps"}, built...)...)); err != nil {
		return err
	}
	for _, s := range built {
		if err := d.stack.wait(ctx, containers[s], healthyWithin); err != nil {
			return fmt.Errorf("after the rollback: %w", err)
		}
	}
	from.Status = rolledBack
	// What serves now is the newest good one again.
	d.state.Deployments = append(d.state.Deployments, &Record{
		ID: d.Now().Format("20060102_150405"), Commit: to.Commit, Started: begun, Finished: d.Now(), Status: good,
		Step: "rolled back from " + from.Commit, ConfigBackup: to.ConfigBackup, ComposeBackup: to.ComposeBackup,
	})
	if err := d.save(); err != nil {
		return err
	}
	fmt.Fprintf(d.Out, "rolled back to %s in %.1f s", to.Commit, d.Now().Sub(begun).Seconds())
	if full {
		fmt.Fprintln(d.Out, "; the volumes are new")
	} else {
		fmt.Fprintln(d.Out, "; data were kept")
	}
	return nil
}

func sameFile(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	y, err := os.ReadFile(b)
	return bytes.Equal(x, y), err
}

// confirm asks on the terminal; nothing but yes is a yes.
func (d *Deploy) confirm(what string) error {
	fmt.Fprintf(d.Out, "%s. Type \"yes\" to go on: ", what)
	if d.DryRun {
		fmt.Fprintln(d.Out, "(dry run)")
		return nil
	}
	line, err := bufio.NewReader(d.In).ReadString('\n')
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	fmt.Fprintln(d.Out)
	if err != nil {
		return errors.New("not confirmed: no answer; nothing was changed")
	}
	return errors.New("not confirmed; nothing was changed")
}
