package host_test

import (
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/host"
)

func TestSelfSeesWorkAndMemory(t *testing.T) {
	before, err := host.Self()
	if err != nil {
		t.Fatal(err)
	}
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = byte(i)
	}
	x := 0
	for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; {
		x += int(ballast[x%len(ballast)])
	}
	after, err := host.Self()
	if err != nil {
		t.Fatal(err)
	}
	if d := after.CPU - before.CPU; d < 20*time.Millisecond {
		t.Errorf("CPU time grew by %s in 50 ms of work", d)
	}
	if d := after.Memory - before.Memory; d < 48<<20 {
		t.Errorf("memory grew by %d bytes with 64 MiB of ballast (%d)", d, x)
	}
	if after.Peak < after.Memory {
		t.Errorf("peak %d is below the present %d", after.Peak, after.Memory)
	}
}
