package spool

import "context"

// AppendGroup appends several records in one group, as far as they fit together:
// what concurrent calls of Append do, made repeatable.
func (s *Spool) AppendGroup(builds ...func(id, prev ID) (Record, error)) (ids []ID, errs []error) {
	s.token <- struct{}{}
	ids, errs = make([]ID, len(builds)), make([]error, len(builds))
	entries := make([]*entry, len(builds))
	for i, build := range builds {
		ids[i], entries[i], errs[i] = s.enqueue(context.Background(), build)
	}
	for i, e := range entries {
		for e != nil {
			select {
			case errs[i] = <-e.done:
				e = nil
			default:
				_ = s.flush()
			}
		}
	}
	<-s.token
	return ids, errs
}

// PendingItem is an Item without its bytes.
type PendingItem struct {
	ID       ID
	FirstSeq uint64
	Kind     Kind
	Reason   string
	Sent     bool
	Held     bool // not proved to be on disk
}

// Pending lists what is to be shipped, without noting that it may be.
func (s *Spool) Pending() (list []PendingItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := s.head; u != nil; u = u.after {
		list = append(list, PendingItem{u.last, u.first, u.kind, u.reason, u.sent, u.hold})
	}
	return list
}

// Check finds contradictions within the index.
func (s *Spool) Check() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	live, chains := map[*segment]int{}, map[*segment]int{}
	known := map[*segment]bool{}
	for _, g := range s.segs {
		known[g] = true
	}
	n := 0
	var gap int64
	for u := s.head; u != nil; u = u.after {
		live[u.seg]++
		gap += u.footprint()
		n++
		if s.byID[u.last] != u || u.gone {
			return "chain and ids differ at " + u.last.String()
		}
		if !known[u.seg] {
			return "pending batch in a removed segment: " + u.last.String()
		}
		if u.after != nil && u.after.before != u || u.after == nil && s.tail != u {
			return "chain broken at " + u.last.String()
		}
	}
	if n != len(s.byID) || gap != s.gapBytes {
		return "sums of the chain differ"
	}
	for _, u := range s.acked {
		live[u.seg]++
	}
	var bytes int64
	for key, c := range s.chains {
		bytes += c.footprint(key)
		for i, k := range c.links {
			if i == 0 {
				chains[k.seg]++
			}
			if !known[k.seg] {
				return "baseline in a removed segment: " + key
			}
		}
	}
	if bytes != s.chainBytes {
		return "sum of baselines differs"
	}
	for _, g := range s.segs {
		if g.live != live[g] || g.chains != chains[g] {
			return "counts of a segment differ: " + g.name
		}
	}
	return ""
}

// Peek reads a pending batch or gap.
func (s *Spool) Peek(id ID) ([]byte, error) {
	s.reading.RLock()
	defer s.reading.RUnlock()
	s.mu.Lock()
	u := s.byID[id]
	at, kind := u.place(), u.kind
	s.mu.Unlock()
	r := &reader{s: s}
	defer r.close()
	l, data, err := s.readUnit(r, at, kind == Batch)
	if err == nil && kind == Gap {
		data = l.gap
	}
	return data, err
}
