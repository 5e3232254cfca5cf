package loadtest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// enoughFiles says whether n connections can be open, with the backend's end of them.
func enoughFiles(n int) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if need := uint64(n) + 200; l.Max < need { // Go has raised the soft limit to the hard one
		return &OptionError{"--collectors", fmt.Sprint(n), fmt.Sprintf("each holds a connection: want %d open files, the limit is %d (ulimit -Hn)", need, l.Max)}
	}
	return nil
}

// freeGB is the disk that is free where dir is.
func freeGB(dir string) float64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0 // leaves the row out
	}
	return float64(s.Bavail) * float64(s.Bsize) / (1 << 30)
}
