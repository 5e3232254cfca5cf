package app

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// outliveReader makes a write to a closed stdout or stderr an error like any other: whoever
// read the log may go (`| head`), and what runs here, and PostgreSQL below it, goes on. By
// default SIGPIPE would end this process and nothing else.
func outliveReader() (release func()) {
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	return func() { signal.Stop(pipe) }
}

// secondSignal is closed when the user has asked twice for the end: then it may be rough,
// but it is still an end of everything. By default the second signal would end this
// process alone.
func secondSignal() (second <-chan struct{}, release func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	asked, released := make(chan struct{}), make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for range 2 {
			select {
			case <-signals:
			case <-released:
				return
			}
		}
		close(asked)
	})
	return asked, func() {
		signal.Stop(signals)
		close(released)
		waiting.Wait()
	}
}
