package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/tool/loadtest"
)

type loadtestCommand struct {
	Collectors            string `help:"Simulated collectors that push: 10, 50, 100, up to 10000." placeholder:"N"`
	Instances             string `help:"Instances that a real collector watches; more than 20 are names on 20 servers." placeholder:"N"`
	Suite                 bool   `help:"The three scenarios of \"make loadtest\": 10, 50 and 100 of both, and the table of before and after."`
	Quick                 bool   `help:"A look in less than a minute: short times, few of everything with --suite. No figures."`
	Interval              string `help:"Time between two readings, 60s by default." placeholder:"TIME"`
	Duration              string `help:"Time of each measurement, two intervals by default." placeholder:"TIME"`
	Limit                 string `help:"query_stats_limit of the real collector, 1000 by default." placeholder:"N"`
	URL                   string `help:"Push to this running backend instead of a private one." placeholder:"URL"`
	TokenFile             string `help:"File with the API token of --url." placeholder:"FILE"`
	RegistrationTokenFile string `help:"File with the registration token of --url." placeholder:"FILE"`
	PostgresBin           string `help:"Where PostgreSQL's programs are." placeholder:"DIR"`
	Reports               string `help:"Folder for loadtest.json and loadtest.md; none are written by default." placeholder:"DIR"`
	NaiveProcess          bool   `hidden:""`
}

// Help is shown with --help.
func (c *loadtestCommand) Help() string {
	return `Puts load on a real backend and a real store, both private and on the loopback address unless --url names
another, and judges what they do by the success criteria. Batches are recorded of a real server first.
The exit status is 0 when every criterion of the deployment is met, 1 when one is not, 2 when the command
line is wrong. Ctrl-C stops all that was started.

Examples:
  pganalytics loadtest --collectors 100 --interval 10s --duration 1m
  pganalytics loadtest --instances 20
  pganalytics loadtest --suite --reports reports
  pganalytics loadtest --collectors 50 --url http://127.0.0.1:8080 --token-file api.token --registration-token-file registration.token`
}

// Run measures, prints and keeps the reports.
func (c *loadtestCommand) Run(ctx context.Context, con *console) error {
	if c.NaiveProcess {
		return loadtest.RunNaive(ctx, os.Stdin, con.stdout)
	}
	opt, err := c.options(con)
	if err != nil {
		return err
	}
	report, err := loadtest.Run(ctx, opt)
	var wrong *loadtest.OptionError
	switch {
	case errors.As(err, &wrong):
		return usageError{err}
	case err != nil:
		return fmt.Errorf("load test: %w", err)
	case !report.AllPassed():
		return errFailed
	}
	return nil
}

func (c *loadtestCommand) options(con *console) (opt loadtest.Options, err error) {
	opt = loadtest.Options{Suite: c.Suite, Quick: c.Quick, URL: c.URL, Dir: c.Reports, Out: con.stdout, Commit: Commit}
	if opt.Commit == "unknown" {
		opt.Commit = ""
	}
	for _, n := range []struct {
		flag, text string
		into       *int
		limit      int
	}{{"--collectors", c.Collectors, &opt.Collectors, loadtest.MaxCollectors}, {"--instances", c.Instances, &opt.Instances, loadtest.MaxInstances}, {"--limit", c.Limit, &opt.Limit, 10_000}} {
		if n.text == "" {
			continue
		}
		if *n.into, err = parseCount(n.flag, n.text, n.limit); err != nil {
			return opt, err
		}
	}
	for _, t := range []struct {
		flag, text string
		into       *time.Duration
		most       time.Duration
	}{{"--interval", c.Interval, &opt.Interval, time.Hour}, {"--duration", c.Duration, &opt.Duration, 24 * time.Hour}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = parseTime(t.flag, t.text, time.Second, t.most); err != nil {
			return opt, err
		}
	}
	for _, s := range []struct {
		flag, path string
		into       *string
	}{{"--token-file", c.TokenFile, &opt.Token}, {"--registration-token-file", c.RegistrationTokenFile, &opt.Registration}} {
		if s.path == "" {
			continue
		}
		if c.URL == "" {
			return opt, usagef("%s = %q: goes with --url", s.flag, s.path)
		}
		text, err := os.ReadFile(s.path)
		if err != nil {
			return opt, usagef("%s: %w", s.flag, err)
		}
		if *s.into = strings.TrimSpace(string(text)); *s.into == "" {
			return opt, usagef("%s = %q: the file is empty", s.flag, s.path)
		}
	}
	if err := opt.Check(); err != nil {
		return opt, usageError{err}
	}
	if opt.Binary, err = os.Executable(); err != nil {
		return opt, err
	}
	if opt.PostgreSQL, err = pgserver.Find(pgserver.Search{Dir: c.PostgresBin}); err != nil {
		return opt, usageError{err}
	}
	began := time.Now()
	opt.Progress = func(format string, args ...any) {
		fmt.Fprintf(con.stderr, "%4.0fs %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	return opt, nil
}

func parseCount(flag, text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, usagef("%s = %q: want 1 to %d", flag, text, most)
	}
	return n, nil
}
