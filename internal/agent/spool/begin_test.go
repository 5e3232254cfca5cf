package spool_test

import (
	"fmt"
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// What was begun is not there before Wait, and all that was begun is written together.
func TestBegin(t *testing.T) {
	s, _ := open(t, spool.OS{}, t.TempDir(), spool.Options{})
	defer closeSpool(t, s)
	before := s.Stats()
	var list []*spool.Pending
	for i := range 20 {
		p, err := s.Begin(t.Context(), func(_, _ spool.ID) (spool.Record, error) {
			return spool.Record{
				Data: fmt.Append(nil, "batch ", i), Gap: []byte("gap"),
				Baselines: []spool.Baseline{{Key: fmt.Sprint("key ", i), Full: true, Data: []byte("base")}},
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if st := s.Stats(); st.Appends != before.Appends || st.Pending != 0 {
		t.Fatalf("%d batches count before anyone waited", st.Appends-before.Appends)
	}
	for i, p := range list {
		id, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if id.Seq != uint64(i+1) {
			t.Errorf("batch %d has the id %s", i, id)
		}
	}
	st := s.Stats()
	if st.Pending != len(list) || st.Groups-before.Groups != 1 {
		t.Errorf("%d batches in %d writes, want %d in one", st.Pending, st.Groups-before.Groups, len(list))
	}
}
