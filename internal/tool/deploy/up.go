package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

const (
	healthyWithin = 60 * time.Second // a service after its start
	maxGap        = 10 * time.Second // between two versions of a service
	gateAfter     = 15 * time.Second // rounds of the new collector, before it is judged
)

// Up deploys what is checked out. The old version serves until the new one is known
// to be healthy, and is started again when the new one fails after the swap.
func (d *Deploy) Up(ctx context.Context) error {
	release, err := d.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := d.recover(ctx); err != nil {
		return err
	}
	if err := d.step(nil, "preflight"); err != nil {
		return err
	}
	if bad := d.report(d.preflight(ctx)); len(bad) > 0 && !d.DryRun {
		fmt.Fprintf(d.Out, "nothing was changed: %s (--accept NAME goes on all the same)\n", strings.Join(bad, ", "))
		return ErrFailed
	}
	hash, _, err := d.commit(ctx)
	if err != nil {
		return err
	}
	r := &Record{ID: d.begun.Format("20060102_150405"), Commit: hash, Started: d.begun, Status: running, Accepted: d.Accept, Gaps: map[string]time.Duration{}}
	d.state.Deployments = append(d.state.Deployments, r)
	swapped, err := d.deploy(ctx, r)
	r.Finished = d.Now()
	if err == nil {
		r.Status = good
		if err := d.step(r, "deployed %s", hash); err != nil {
			return err
		}
		d.sayf("next: pganalytics deploy validate (now, after 2 h, 24 h and 72 h)")
		return nil
	}
	r.Status, r.Why = failed, err.Error()
	fmt.Fprintf(d.Out, "FAILED at %q: %v\n", r.Step, err)
	// Whatever ended this, also Ctrl-C: what was swapped goes back.
	ctx = context.WithoutCancel(ctx)
	d.removeCandidate(ctx)
	if serr := d.save(); serr != nil {
		return errors.Join(err, serr)
	}
	if !swapped {
		fmt.Fprintln(d.Out, "the old version is still serving, nothing was lost")
		return ErrFailed
	}
	if err := d.goBack(ctx, r); err != nil {
		return err
	}
	return ErrFailed
}

// recover cleans up after a deployment that was cut off.
func (d *Deploy) recover(ctx context.Context) error {
	last := d.state.last()
	if last == nil || last.Status != running {
		return nil
	}
	if err := d.step(nil, "the deployment %s was cut off at %q: cleaning up", last.ID, last.Step); err != nil {
		return err
	}
	d.removeCandidate(ctx)
	last.Status, last.Why = failed, "cut off at "+last.Step
	return d.save()
}

func (d *Deploy) removeCandidate(ctx context.Context) {
	if d.stack.health(ctx, candidate) != "" {
		_ = d.stack.do(ctx, "docker", "rm", "-f", candidate)
	}
}

// deploy does the work; swapped says whether a service was, or may have been, changed.
func (d *Deploy) deploy(ctx context.Context, r *Record) (swapped bool, err error) {
	first := d.stack.health(ctx, containers["backend"]) == ""
	if err := d.backup(ctx, r, first); err != nil {
		return false, err
	}
	if err := d.step(r, "building the images of %s", r.Commit); err != nil {
		return false, err
	}
	build := d.stack.compose(r.Commit, append([]string{"build"}, built...)...)
	build.env = append(build.env, "PGANALYTICS_COMMIT="+r.Commit)
	build.limit, build.show = 30*time.Minute, true
	if _, err := d.stack.run(ctx, build); err != nil {
		return false, err
	}
	if first {
		return true, d.firstStart(ctx, r)
	}
	if err := d.step(r, "migrating the databases (additive: the old version goes on with them)"); err != nil {
		return false, err
	}
	if _, err := d.stack.run(ctx, d.stack.compose(r.Commit, "run", "--rm", "--no-deps", "-T", "backend", "migrate")); err != nil {
		return false, err
	}
	if err := d.tryBackend(ctx, r); err != nil {
		return false, err
	}
	if err := d.tryCollector(ctx, r); err != nil {
		return false, err
	}
	for _, service := range built {
		if err := d.swap(ctx, r, service); err != nil {
			return true, err
		}
	}
	if err := d.others(ctx, r); err != nil {
		return true, err
	}
	return true, d.gate(ctx, r)
}

// backup keeps what a rollback needs, and the figures before.
func (d *Deploy) backup(ctx context.Context, r *Record, first bool) error {
	if err := d.step(r, "backup of configuration and compose file"); err != nil {
		return err
	}
	r.ConfigBackup, r.ComposeBackup = configFile+".backup."+r.ID, composeFile+".backup."+r.ID
	for _, f := range []struct{ file, backup string }{{configFile, r.ConfigBackup}, {composeFile, r.ComposeBackup}} {
		if err := d.stack.do(ctx, "cp", "-p", f.file, f.backup); err != nil {
			return err
		}
	}
	if first {
		return nil
	}
	if err := d.step(r, "figures before"); err != nil {
		return err
	}
	stats, err := d.stack.ask(ctx, "docker", "stats", "--no-stream")
	if err != nil {
		return err
	}
	r.Baseline = filepath.Join(stateDir, "baseline."+r.ID+".json")
	if d.DryRun {
		return nil
	}
	if err := writeFile(filepath.Join(d.Dir, stateDir, "baseline."+r.ID+".txt"), []byte(stats+"\n")); err != nil {
		return err
	}
	if _, err := d.judge(ctx, d.begun.Add(-15*time.Minute), d.begun, "", r.Baseline); err != nil {
		r.Baseline = ""
		d.sayf("no figures before: %v", err)
	}
	return nil
}

func (d *Deploy) firstStart(ctx context.Context, r *Record) error {
	if err := d.step(r, "first start"); err != nil {
		return err
	}
	if err := d.tag(ctx, r.Commit); err != nil {
		return err
	}
	if _, err := d.stack.run(ctx, d.stack.compose("", "up", "-d")); err != nil {
		return err
	}
	if err := d.allHealthy(ctx); err != nil {
		return err
	}
	return d.gate(ctx, r)
}

func (d *Deploy) allHealthy(ctx context.Context) error {
	services, err := d.stack.services(ctx)
	if err != nil {
		return err
	}
	for _, s := range services {
		if err := d.stack.wait(ctx, containers[s], healthyWithin); err != nil {
			return err
		}
	}
	return nil
}

// tag makes a commit's images those that docker-compose up takes.
func (d *Deploy) tag(ctx context.Context, tag string, services ...string) error {
	if len(services) == 0 {
		services = built
	}
	for _, s := range services {
		if err := d.stack.do(ctx, "docker", "tag", image(s, tag), image(s, "latest")); err != nil {
			return err
		}
	}
	return nil
}

// tryBackend starts the new backend beside the old one, without a port; any number
// of backends may serve one store.
func (d *Deploy) tryBackend(ctx context.Context, r *Record) error {
	if err := d.step(r, "trying the new backend beside the old one"); err != nil {
		return err
	}
	d.removeCandidate(ctx)
	if _, err := d.stack.run(ctx, d.stack.compose(r.Commit, "run", "-d", "--no-deps", "--name", candidate, "backend")); err != nil {
		return err
	}
	if err := d.stack.wait(ctx, candidate, healthyWithin); err != nil {
		return err
	}
	return d.stack.do(ctx, "docker", "rm", "-f", candidate)
}

// tryCollector lets the new collector check configuration, connections and
// privileges; two could not watch the same instances. What the old one misses too
// is no reason to stop.
func (d *Deploy) tryCollector(ctx context.Context, r *Record) error {
	if err := d.step(r, "trying the new collector: --check"); err != nil {
		return err
	}
	try := func(tag string) error {
		_, err := d.stack.run(ctx, d.stack.compose(tag, "run", "--rm", "--no-deps", "-T", "collector", "collector", "--config", "/etc/pganalytics/config.toml", "--check"))
		return err
	}
	err := try(r.Commit)
	if err == nil {
		return nil
	}
	if try("") != nil {
		d.sayf("the check fails with the old collector too, so it is no reason to stop: %v", err)
		return nil
	}
	return err
}

// swap puts a service's new image in the old one's place. The old image is started
// again when the new one does not become healthy.
func (d *Deploy) swap(ctx context.Context, r *Record, service string) error {
	if err := d.step(r, "swapping %s", service); err != nil {
		return err
	}
	old := d.stack.imageID(ctx, containers[service])
	if err := d.tag(ctx, r.Commit, service); err != nil {
		return err
	}
	begun := d.Now()
	var g *gap
	if service == "backend" && !d.DryRun {
		if address, err := d.stack.address(ctx); err == nil {
			g = watch(ctx, address+"/api/v1/health")
		}
	}
	_, err := d.stack.run(ctx, d.stack.compose("", "up", "-d", "--no-deps", service))
	if err == nil {
		err = d.stack.wait(ctx, containers[service], healthyWithin)
	}
	length := d.Now().Sub(begun)
	if g != nil {
		length = g.stop()
	}
	if r.Gaps != nil {
		r.Gaps[service] = length
	}
	if err == nil {
		if service == "backend" {
			d.sayf("%s did not answer for %.1f s; batches waited in the spool", service, length.Seconds())
		} else {
			d.sayf("%s was exchanged in %.1f s, first round included", service, length.Seconds())
		}
		if length > maxGap && !d.DryRun {
			d.sayf("that is more than the %s that are promised", maxGap)
		}
		return nil
	}
	if old == "" {
		return err
	}
	d.sayf("the new %s failed: the old image again", service)
	ctx = context.WithoutCancel(ctx)
	rerr := d.stack.do(ctx, "docker", "tag", old, image(service, "latest"))
	if rerr == nil {
		_, rerr = d.stack.run(ctx, d.stack.compose("", "up", "-d", "--no-deps", service))
	}
	if rerr == nil {
		rerr = d.stack.wait(ctx, containers[service], healthyWithin)
	}
	return errors.Join(err, rerr)
}

// others brings up what has no image of ours; a changed database container is the
// operator's to restart.
func (d *Deploy) others(ctx context.Context, r *Record) error {
	services, err := d.stack.services(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(services, "grafana") {
		if err := d.step(r, "grafana"); err != nil {
			return err
		}
		if _, err := d.stack.run(ctx, d.stack.compose("", "up", "-d", "--no-deps", "grafana")); err != nil {
			return err
		}
	}
	return nil
}

// gate judges the new version: everything healthy, and no criterion that must pass
// failed since it serves.
func (d *Deploy) gate(ctx context.Context, r *Record) error {
	if err := d.step(r, "health of all services"); err != nil {
		return err
	}
	if err := d.allHealthy(ctx); err != nil {
		return err
	}
	if err := d.step(r, "criteria that must pass, since the swap"); err != nil {
		return err
	}
	if d.DryRun {
		return nil
	}
	from := d.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(gateAfter):
	}
	rows, err := d.judge(ctx, from, d.Now(), "", "")
	if err != nil {
		return err
	}
	if silent := must(rows, check.NoData); len(silent) > 0 {
		d.sayf("no data yet: %s (see deploy validate)", names(silent))
	}
	if bad := must(rows, check.Fail); len(bad) > 0 {
		fmt.Fprint(d.Out, table(bad))
		return fmt.Errorf("criteria that must pass and do not: %s", names(bad))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
