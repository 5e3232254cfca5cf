package spool

// redo makes the entries that write the last group again, without its marks.
func (r *recovery) redo(tail []*found) error {
	s := r.s
	rd := &reader{s: s}
	defer rd.close()
	for _, f := range tail {
		if f.mark != nil {
			continue
		}
		file, err := rd.open(f.seg)
		if err != nil {
			return err
		}
		b := make([]byte, int64(f.h.lead)+int64(f.h.body))
		if err := readAt(file, b, f.off+headerSize); err != nil {
			return err
		}
		lead, body := b[:f.h.lead], b[f.h.lead:]
		again := &found{place: f.place}
		if checksum(lead) != f.h.leadCRC || !again.decode(lead, body) || again.bad || again.torn {
			return errDamaged
		}
		u := r.units[f.id()]
		if u != nil && (u.seg != f.seg || u.off != f.off) {
			u = nil
		}
		s.redo = append(s.redo, &entry{
			typ: f.h.typ, size: f.h.size(), holds: u, body: [][]byte{body},
			lead:  func(b []byte) []byte { return append(b, lead...) },
			apply: func(p place) { s.relocate(f, p, u) },
		})
	}
	return nil
}

// relocate brings the index up to date when a record was written again. mu is held.
func (s *Spool) relocate(f *found, p place, u *unit) {
	if u != nil {
		u.hold = false
		if u.order == f.h.lsn {
			u.order = p.h.lsn
		}
		u.seg.live--
		u.seg, u.off = p.seg, p.off
		u.seg.live++
		s.signal()
	}
	var keys []string
	if f.carry != nil {
		keys = append(keys, f.carry.key)
	}
	if f.unit != nil {
		for _, l := range f.unit.baselines {
			keys = append(keys, l.key)
		}
	}
	for _, key := range keys {
		c := s.chains[key]
		if c == nil {
			continue
		}
		for i := range c.links {
			k := &c.links[i]
			if k.seg != f.seg || k.off < f.off || k.off >= f.off+f.h.size() {
				continue
			}
			if i == 0 {
				k.seg.chains--
				p.seg.chains++
			}
			k.seg, k.off = p.seg, p.off+(k.off-f.off)
			if k.lsn == f.h.lsn {
				k.lsn = p.h.lsn
			}
		}
		if c.head == f.h.lsn {
			c.head = p.h.lsn
		}
		if c.asOf == f.h.lsn {
			c.asOf = p.h.lsn
		}
	}
}
