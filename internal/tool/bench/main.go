package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options of a run.
type options struct {
	instances  int           // servers of 120 statements
	names      int           // under which the server of 1,000 statements is watched
	interval   time.Duration // whole seconds
	limit      int           // query_stats_limit
	warmup     time.Duration
	measure    time.Duration
	outage     time.Duration
	ingestRows int
	ingestRuns int
	only       []string
	binary     string
	postgres   string
	json       string
	profile    string
}

var parts = []string{"collector", "ingest", "wire"}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "floor":
			exit(runFloor(os.Args[2:]))
		case "collector":
			os.Exit(runProfiled(os.Args[2:]))
		}
	}
	opt, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, opt)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (options, error) {
	opt := options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&opt.instances, "instances", 100, "servers of 120 statements, each a PostgreSQL of its own")
	f.IntVar(&opt.names, "names", 20, "names under which the one server of 1,000 statements is watched")
	f.DurationVar(&opt.interval, "interval", 10*time.Second, "time between two readings, whole seconds")
	f.IntVar(&opt.limit, "limit", 1000, "query_stats_limit: with 1,000 every statement is sent, none is summed")
	f.DurationVar(&opt.warmup, "warmup", 40*time.Second, "time before a measurement")
	f.DurationVar(&opt.measure, "measure", 3*time.Minute, "time of a measurement")
	f.DurationVar(&opt.outage, "outage", time.Minute, "how long the backend is away; 0: not at all")
	f.IntVar(&opt.ingestRows, "ingest-rows", 200_000, "statement rows of one ingest run")
	f.IntVar(&opt.ingestRuns, "ingest-runs", 5, "ingest runs, each beside a COPY")
	only := f.String("only", strings.Join(parts, ","), "what to measure; wire needs collector")
	f.StringVar(&opt.binary, "binary", "bin/pganalytics", "the program")
	f.StringVar(&opt.postgres, "postgres", ".cache/postgres/17", "folder of a PostgreSQL")
	f.StringVar(&opt.json, "json", "", "`file` for the figures as JSON")
	f.StringVar(&opt.profile, "profile", "", "`folder` for CPU and heap profiles of the collector, which then runs inside this program")
	quick := f.Bool("quick", false, "10 servers, short times: a look, not a figure")
	full := f.Bool("full", false, "5 minutes of measurement and a 10-minute outage: the figures of docs/benchmarks.md")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: bench [flags]\n\nMeasures the product beside references in the same run.")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return opt, err
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick && *full {
		return opt, errors.New("-quick and -full: want one of them")
	}
	preset := func(name string, set func()) {
		if !given[name] {
			set()
		}
	}
	if *quick {
		preset("instances", func() { opt.instances = 10 })
		preset("names", func() { opt.names = 4 })
		preset("interval", func() { opt.interval = 5 * time.Second })
		preset("warmup", func() { opt.warmup = 11 * time.Second })
		preset("measure", func() { opt.measure = 20 * time.Second })
		preset("outage", func() { opt.outage = 10 * time.Second })
		preset("ingest-rows", func() { opt.ingestRows = 60_000 })
		preset("ingest-runs", func() { opt.ingestRuns = 2 })
	}
	if *full {
		preset("measure", func() { opt.measure = 5 * time.Minute })
		preset("outage", func() { opt.outage = 10 * time.Minute })
	}
	for name := range strings.SplitSeq(*only, ",") {
		if !slices.Contains(parts, name) {
			return opt, fmt.Errorf("-only %q: want some of %s", *only, strings.Join(parts, ","))
		}
		opt.only = append(opt.only, name)
	}
	switch {
	case f.NArg() > 0:
		return opt, fmt.Errorf("unknown argument %q", f.Arg(0))
	case opt.instances < 1 || opt.instances > 1000:
		return opt, fmt.Errorf("-instances %d: want 1 to 1000", opt.instances)
	case opt.names < 0 || opt.names > 200:
		return opt, fmt.Errorf("-names %d: want 0 to 200", opt.names)
	case opt.interval < time.Second || opt.interval%time.Second != 0:
		return opt, fmt.Errorf("-interval %s: want whole seconds", opt.interval)
	case opt.measure < 2*opt.interval:
		return opt, fmt.Errorf("-measure %s: want at least two intervals", opt.measure)
	case opt.ingestRows < batchRows || opt.ingestRuns < 1:
		return opt, fmt.Errorf("-ingest-rows %d, -ingest-runs %d: want at least %d and 1", opt.ingestRows, opt.ingestRuns, batchRows)
	case slices.Contains(opt.only, "wire") && !slices.Contains(opt.only, "collector"):
		return opt, errors.New("-only wire: it measures what the collector pushed, so add collector")
	}
	return opt, nil
}

// bench is one run.
type bench struct {
	options
	*place
	log      *slog.Logger
	report   *report
	children []*child
	store    string // URL of the store's superuser, database postgres
	recorded [][]byte
}

func run(ctx context.Context, opt options) (err error) {
	b := &bench{options: opt, log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: shortTime})), report: newReport(opt)}
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return fmt.Errorf("the program: %w (make build)", err)
	}
	if b.place, err = newPlace(b.postgres); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	defer b.stopChildren()
	b.report.Machine = machine(b.bin.Version)

	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	ended, err := b.startStore(ctx, storeCtx)
	if err != nil {
		stopStore()
		return err
	}
	defer func() {
		b.stopChildren()
		stopStore()
		err = errors.Join(err, <-ended)
	}()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"collector", b.collector}, {"ingest", b.ingest}, {"wire", b.wire}} {
		if !slices.Contains(b.only, part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			if ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.report.print(os.Stdout)
	if opt.json != "" {
		return b.report.write(opt.json)
	}
	return nil
}

func shortTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.String("time", a.Value.Time().Format("15:04:05"))
	}
	return a
}

// sleep waits unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
