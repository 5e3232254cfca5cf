package spool_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// Baselines that take more than what they may pin are written anew now and then, not
// without end.
func TestLargeBaselinesEnd(t *testing.T) {
	s, _, err := spool.Open(t.Context(), spool.OS{}, t.TempDir(), spool.Options{MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		blob := bytes.Repeat([]byte("baseline"), 4000)
		for i := range 400 {
			id, err := s.Append(context.Background(), func(id, prev spool.ID) (spool.Record, error) {
				return spool.Record{
					Tick: int64(i), Data: []byte("batch"), Gap: []byte("gap"),
					Baselines: []spool.Baseline{{Key: fmt.Sprintf("key %d", i%20), Full: true, Data: blob}},
				}, nil
			})
			if err != nil {
				done <- err
				return
			}
			s.Ack(id)
		}
		s.Flush()
		done <- s.Close()
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("appending, or freeing segments, does not end")
	}
	if st := s.Stats(); st.Bytes > 4<<20 || st.Carried > 800 {
		t.Errorf("%d bytes on disk for 640 kB of baselines, %d written anew", st.Bytes, st.Carried)
	}
}
