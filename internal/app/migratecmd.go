package app

import (
	"context"
	"fmt"
	"time"

	"github.com/pganalytics/pganalytics/internal/server"
)

type migrateCommand struct{}

// Run migrates the databases that DATABASE_URL and TIMESCALE_URL name.
func (migrateCommand) Run(ctx context.Context, con *console) error {
	metricsURL, appURL, err := databases(con)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := server.Migrate(ctx, metricsURL, appURL); err != nil {
		return err
	}
	_, err = fmt.Fprintf(con.stdout, "the databases are those of %s\n", Version)
	return err
}
