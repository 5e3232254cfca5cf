package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// Version and Commit are set by the linker.
var (
	Version = "dev"
	Commit  = "unknown"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is an error of the command line, the environment or a configuration
// file: the user can mend it, exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// console is where a command speaks: results on stdout, errors on stderr.
type console struct {
	stdout, stderr io.Writer
	environ        []string
}

func (c *console) getenv(name string) string {
	for _, e := range c.environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// setting is a value with where it was given, for messages.
type setting struct{ name, value string }

// setting gives a variable of the environment.
func (c *console) setting(name string) setting { return setting{name, c.getenv(name)} }

// commands is the command line. Each command has a Run(ctx, *console) error.
type commands struct {
	Up        upCommand        `cmd:"" help:"Watch servers with everything in one process: store, backend, collector, UI."`
	Collector collectorCommand `cmd:"" help:"Run the agent that reads servers and pushes to a backend."`
	Backend   backendCommand   `cmd:"" help:"Run the API server on the databases that DATABASE_URL and TIMESCALE_URL name."`
	Health    healthCommand    `cmd:"" help:"Exit 0 when the backend is healthy, 1 when it is not."`
	Ledger    ledgerCommand    `cmd:"" help:"Print what became of every planned tick."`
	Deploy    deployCommand    `cmd:"" help:"Update the compose stack, judge the update, take it back."`
	Check     checkCommand     `cmd:"" help:"Measure the success criteria on a running deployment."`
	Loadtest  loadtestCommand  `cmd:"" help:"Measure the success criteria under load, beside the naive design."`
	Catalog   catalogCommand   `cmd:"" help:"Print what is measured: families, their SQL, their documentation."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the databases to this version and end."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

const description = `pgAnalytics watches PostgreSQL servers: it loses nothing, harms nothing, hides nothing, and says what to do.

Examples:
  pganalytics up --demo
  pganalytics up postgres://monitor@db1.example:5432/postgres postgres://monitor@db2.example/postgres
  pganalytics collector --config collector.toml --check`

// Main runs one command and gives the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	con := &console{stdout: stdout, stderr: stderr, environ: os.Environ()}
	var cli commands
	exited := -1
	parser, err := kong.New(&cli,
		kong.Name("pganalytics"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }))
	if err != nil {
		panic("BUG: command line: " + err.Error())
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help has printed and wants to end
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "pganalytics: %v\nRun \"pganalytics --help\" for what there is.\n", err)
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(con)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "pganalytics: %v\n", err)
		return exitUsage
	case errors.Is(err, errFailed):
		return exitFailed
	default:
		fmt.Fprintf(stderr, "pganalytics: %v\n", err)
		return exitFailed
	}
}

// errFailed ends a command whose output has already said why.
var errFailed = errors.New("check failed")

// newLog makes the process's log: slog on stdout, as text or JSON.
func newLog(w io.Writer, level, format setting) (*slog.Logger, error) {
	l := slog.LevelInfo
	if level.value != "" {
		if err := l.UnmarshalText([]byte(level.value)); err != nil {
			return nil, usagef("%s = %q: want debug, info, warn or error", level.name, level.value)
		}
	}
	options := &slog.HandlerOptions{Level: l}
	switch format.value {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usagef("%s = %q: want text or json", format.name, format.value)
}

type versionCommand struct{}

func (versionCommand) Run(con *console) error {
	_, err := fmt.Fprintf(con.stdout, "pganalytics %s (%s)\n", Version, Commit)
	return err
}
