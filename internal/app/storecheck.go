package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

const (
	// storePatience is how long the database that --store names may take to answer: it
	// may be starting at the same time as we do.
	storePatience = 5 * time.Second
	storeRetry    = 200 * time.Millisecond
	// storePrepared bounds its migration, another backend's included.
	storePrepared = 2 * time.Minute
)

// prepareStore connects to the database that --store names and brings it to this
// version: what is wrong with it is told before anything builds on it. A store that goes
// away later is waited for.
func prepareStore(ctx context.Context, url string) error {
	name := fmt.Sprintf("--store %q", target.MaskURL(url))
	deadline := time.Now().Add(storePatience)
	var why error
	for {
		err := reach(ctx, url, deadline)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && !passing(pg) {
			return usagef("%s: %w", name, pg)
		}
		if why == nil || !errors.Is(err, context.DeadlineExceeded) { // that the last try was cut short says nothing
			why = err
		}
		if time.Until(deadline) <= storeRetry {
			return fmt.Errorf("%s: no answer within %s: %s", name, storePatience, oneLine(why))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(storeRetry):
		}
	}
	prepared, cancel := context.WithTimeout(ctx, storePrepared)
	defer cancel()
	switch err := server.Migrate(prepared, url, url); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrUnfit):
		return usagef("%s: %w", name, err)
	default:
		return fmt.Errorf("%s: %w", name, err)
	}
}

func reach(ctx context.Context, url string, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// passing: the server answered, but is starting (57P03) or has no connection to spare
// (53300). Anything else that it says will be said again.
func passing(pg *pgconn.PgError) bool { return pg.Code == "57P03" || pg.Code == "53300" }

// oneLine is the first of the attempts that pgconn lists, one for each address and for
// TLS and plain text.
func oneLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(lines) > 1 {
		return strings.TrimSpace(lines[1])
	}
	return lines[0]
}
