package app

import (
	"context"
	"errors"
	"os"

	"github.com/pganalytics/pganalytics/internal/tool/deploy"
)

type deployCommand struct {
	Preflight deployPreflight `cmd:"" help:"Say what is missing before a deployment."`
	Up        deployUp        `cmd:"" help:"Deploy what is checked out, one service at a time; a bad version is taken back."`
	Validate  deployValidate  `cmd:"" help:"Judge the deployment by its criteria over the windows since then; writes a report."`
	Rollback  deployRollback  `cmd:"" help:"Bring the last known good version back; data are kept."`
}

// Help is shown with --help.
func (*deployCommand) Help() string {
	return `The compose stack of a checkout of the repository, see docs/deployment.md.

Examples:
  pganalytics deploy preflight
  pganalytics deploy up --dry-run
  pganalytics deploy up --accept loadtest
  pganalytics deploy validate
  pganalytics deploy rollback`
}

type deployFlags struct {
	Dir    string `help:"The repository." default:"." placeholder:"DIR"`
	DryRun bool   `help:"Change nothing, print every command."`
}

// run opens the deployment and does one thing with it.
func (f *deployFlags) run(ctx context.Context, con *console, accept []string, do func(*deploy.Deploy) error) error {
	d, err := deploy.Open(ctx, deploy.Options{
		Dir: f.Dir, Out: con.stdout, In: os.Stdin, DryRun: f.DryRun, Accept: accept,
		ValidateConfig: func(path string) error {
			_, _, err := loadCollector(path, nil)
			return err
		},
	})
	if err != nil {
		return usageError{err}
	}
	err = do(d)
	if errors.Is(err, deploy.ErrFailed) {
		return errFailed
	}
	return err
}

type deployPreflight struct {
	deployFlags `embed:""`
	Accept      []string `help:"Checks that may fail, by name." placeholder:"NAME"`
}

// Run exits with 1 when something is missing.
func (c *deployPreflight) Run(ctx context.Context, con *console) error {
	return c.run(ctx, con, c.Accept, func(d *deploy.Deploy) error { return d.Preflight(ctx) })
}

type deployUp struct {
	deployFlags `embed:""`
	Accept      []string `help:"Preflight checks that may fail, by name; recorded." placeholder:"NAME"`
}

// Run deploys.
func (c *deployUp) Run(ctx context.Context, con *console) error {
	return c.run(ctx, con, c.Accept, func(d *deploy.Deploy) error { return d.Up(ctx) })
}

type deployValidate struct {
	deployFlags `embed:""`
}

// Run exits with 1 when a criterion that must pass does not.
func (c *deployValidate) Run(ctx context.Context, con *console) error {
	return c.run(ctx, con, nil, func(d *deploy.Deploy) error { return d.Validate(ctx) })
}

type deployRollback struct {
	deployFlags `embed:""`
	Full        bool `help:"Also make the volumes anew, after asking: all data are lost."`
}

// Run rolls back.
func (c *deployRollback) Run(ctx context.Context, con *console) error {
	return c.run(ctx, con, nil, func(d *deploy.Deploy) error { return d.Rollback(ctx, c.Full) })
}
