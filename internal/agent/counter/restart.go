package counter

// visibility looks at rows whose keys we may not see. When rows of a (dbid, userid)
// become visible, or hidden, they were there all the time: their counters are no
// growth.
func (c *counting) visibility() {
	if !c.lay.hides {
		return
	}
	some := false
	for i := range c.n {
		if c.next.isHidden(i) {
			c.flags[i] |= hidden
			some = true
		}
	}
	before := c.hiddenSums(c.base)
	if !some && len(before) == 0 {
		return
	}
	now := c.hiddenSums(c.next)
	seen := map[string]bool{} // sums with rows that could be seen in base
	if c.base != nil {
		for j := range c.base.n {
			if !c.base.isHidden(j) {
				seen[c.sumKey(c.base, j)] = true
			}
		}
	}
	for i := range c.n {
		if c.base == nil || c.baseRow(i) >= 0 {
			continue
		}
		key := c.sumKey(c.next, i)
		if c.flags[i]&hidden != 0 && seen[key] || c.flags[i]&hidden == 0 && before[key] && !c.bornSince(i) {
			c.flags[i] |= quiet
			c.notes.revealed++
		}
	}
	c.notes.hiddenBefore, c.notes.hiddenNow = before, now
}

// bornSince: a Reset column shows that the row's counters began after the last read.
func (c *counting) bornSince(i int) bool {
	for _, col := range c.lay.resets {
		if c.next.isNull(col, i) || c.next.intsOf(col)[i] <= c.base.at {
			return false
		}
	}
	return len(c.lay.resets) > 0
}

func (c *counting) hiddenSums(b *Baseline) map[string]bool {
	if b == nil {
		return nil
	}
	var out map[string]bool
	for i := range b.n {
		if b.isHidden(i) {
			if out == nil {
				out = map[string]bool{}
			}
			out[c.sumKey(b, i)] = true
		}
	}
	return out
}

// restarts corrects the deltas of rows whose counters began again.
func (c *counting) restarts() {
	if c.base == nil {
		return
	}
	if old, now := c.base.proof, c.next.proof; old.Valid && now.Valid && now.Reset != old.Reset && now.Reset > c.base.at {
		// Older than the last read: that one has seen it already.
		c.notes.whole = true
	}
	for _, col := range c.lay.resets {
		if c.match == nil && sameColumn(c.next, c.base, col) {
			continue
		}
		for i := range c.n {
			if j := c.baseRow(i); j >= 0 && !sameCell(c.next, i, c.base, j, col) {
				c.flags[i] |= suspect
			}
		}
	}
	for i := range c.n {
		if c.notes.whole || c.any[i] < 0 || c.flags[i]&suspect != 0 {
			if j := c.baseRow(i); j >= 0 {
				c.judge(i, j)
			}
		}
	}
	if kept := c.base.proof.Valid && c.next.proof.Valid && !c.notes.whole; c.restartedServer() && c.notes.fell > 0 && !kept {
		c.crash()
	}
}

func (c *counting) restartedServer() bool {
	return c.base.start != 0 && c.next.start != 0 && c.base.start != c.next.start
}

// judge decides for each Reset column's counters of a known row whether they began
// again, and corrects their deltas.
func (c *counting) judge(i, j int) {
	for g := range c.lay.groups {
		known, fallen := c.evidence(i, j, g)
		began := false
		switch c.proofOf(i, j, g) {
		case proved:
			began = true
			c.notes.proved++
		case likely:
			began = fallen
			if began {
				c.notes.proved++
			}
		case none:
			// A sum of rows falls when one of them was evicted; that it began again is
			// shown by nothing but a restart.
			began = fallen && (c.flags[i]&hidden == 0 || c.restartedServer())
			if began {
				c.notes.fell++
			}
		}
		if began {
			c.restart(i, j, g)
		} else if known {
			c.forget(i, g)
		}
	}
	c.any[i] = 0
	for k := range c.lay.counters {
		c.any[i] |= c.delta[k*c.n+i]
	}
}

type certainty int

const (
	none certainty = iota
	likely
	proved
)

// proofOf tells what the Reset columns and Family.Proof say.
func (c *counting) proofOf(i, j, g int) certainty {
	if len(c.lay.resets) > 0 {
		col := c.lay.resets[g]
		now, before := !c.next.isNull(col, i), !c.base.isNull(col, j)
		switch {
		case now && before && sameCell(c.next, i, c.base, j, col):
			return none // though Proof changed: this row has a better one
		case now && (before || c.next.intsOf(col)[i] > c.base.at):
			// A first value older than the last read is no reset, but a column that
			// the server has got (ALTER EXTENSION … UPDATE).
			if c.lay.family.Columns[col].Hint {
				return likely
			}
			return proved
		}
	}
	if c.notes.whole {
		return proved
	}
	return none
}

// evidence: some reports whether any counter of the group fell; began whether that
// means that all of them began again.
func (c *counting) evidence(i, j, g int) (some, began bool) {
	fell, held, first := 0, 0, true
	for k, col := range c.lay.counters {
		if c.lay.group[k] != g || c.next.isNull(col, i) || c.base.isNull(col, j) {
			continue
		}
		cur, old := c.next.intsOf(col)[i], c.base.intsOf(col)[j]
		switch {
		case cur < old:
			fell++
			began = began || first
		case old > 0:
			held++
		}
		first = false
	}
	return fell > 0, began || fell > held
}

// restart makes the counters of a group count from 0.
func (c *counting) restart(i, j, g int) {
	for k, col := range c.lay.counters {
		if c.lay.group[k] == g && !c.next.isNull(col, i) && !c.base.isNull(col, j) {
			c.delta[k*c.n+i] = c.next.intsOf(col)[i]
		}
	}
}

// forget makes counters that fell count nothing.
func (c *counting) forget(i, g int) {
	for k := range c.lay.counters {
		if d := &c.delta[k*c.n+i]; c.lay.group[k] == g && *d < 0 {
			*d = 0
			c.notes.partial++
		}
	}
}

// crash: the server was restarted and counters fell without a proof. When that are
// most of the rows that had counted anything, the server has thrown away all of
// this family's counters, so that those that did not fall began again too.
func (c *counting) crash() {
	counted := 0
	for j := range c.base.n {
		for _, col := range c.lay.counters {
			if !c.base.isNull(col, j) && c.base.intsOf(col)[j] > 0 {
				counted++
				break
			}
		}
	}
	if 2*c.notes.fell <= counted {
		return
	}
	for i := range c.n {
		j := c.baseRow(i)
		if j < 0 {
			continue
		}
		for g := range c.lay.groups {
			if len(c.lay.resets) > 0 {
				if col := c.lay.resets[g]; !c.next.isNull(col, i) && !c.base.isNull(col, j) {
					continue // its own proof said what is so
				}
			}
			c.restart(i, j, g)
		}
		c.any[i] = 0
		for k := range c.lay.counters {
			c.any[i] |= c.delta[k*c.n+i]
		}
	}
}
