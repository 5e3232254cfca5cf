package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"github.com/pganalytics/pganalytics/internal/app"
)

// profileFolder names the variable that tells where profiles go.
const profileFolder = "PGA_TEST_PROFILE"

// runProfiled is the program's `collector` inside this one, so that it can be
// profiled: SIGUSR1 begins a CPU profile, SIGUSR2 ends it and writes it with heap
// profiles.
func runProfiled(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := os.Getenv(profileFolder)
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for n := 0; ; n++ {
			if err := profile(dir, asked, n); err != nil {
				fmt.Fprintf(os.Stderr, "profile: %v\n", err)
			}
		}
	}()
	return app.Main(ctx, append([]string{"collector"}, args...), os.Stdout, os.Stderr)
}

func profile(dir string, asked <-chan os.Signal, n int) error {
	for <-asked != syscall.SIGUSR1 {
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("cpu-%d.pprof", n)))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	for <-asked != syscall.SIGUSR2 {
	}
	pprof.StopCPUProfile()
	for _, kind := range []string{"heap", "goroutine"} {
		h, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", kind, n)))
		if err != nil {
			return err
		}
		if err := pprof.Lookup(kind).WriteTo(h, 0); err != nil {
			h.Close()
			return err
		}
		if err := h.Close(); err != nil {
			return err
		}
	}
	return nil
}
