// Command pganalytics is the whole product in one program; see --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pganalytics/pganalytics/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends at once, as if we had never caught the first.
	context.AfterFunc(ctx, stop)
	code := app.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
