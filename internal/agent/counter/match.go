package counter

import "hash/maphash"

// pair finds for each row of next its row in base. It reports false when a key
// occurs twice; then the reading has to be collapsed first.
func (c *counting) pair() bool {
	c.match, c.taken = nil, nil
	c.news = 0
	if c.base == nil {
		c.news = c.n
		return c.newsUnique()
	}
	if c.sameRows() {
		return true
	}
	c.match = grow(&c.buf.match, c.n)
	c.taken = grow(&c.buf.taken, c.base.n)
	clear(c.taken)
	indexed := false
	cursor := 0 // rows mostly keep their order: the next one is the first guess
	for i := range c.n {
		j := cursor
		if j >= c.base.n || c.taken[j] || !sameKey(c.next, i, c.base, j) {
			if !indexed {
				c.buf.index.build(c.base)
				indexed = true
			}
			if j = c.buf.index.find(c.base, c.next, i); j >= 0 && c.taken[j] {
				return false
			}
		}
		c.match[i] = int32(j)
		if j < 0 {
			c.news++
			continue
		}
		c.taken[j] = true
		cursor = j + 1
	}
	return c.newsUnique()
}

// sameRows: the same keys in the same order, which is how it mostly is.
func (c *counting) sameRows() bool {
	a, b := c.next, c.base
	if a.n != b.n {
		return false
	}
	for _, k := range c.lay.keys {
		if !sameColumn(a, b, k) {
			return false
		}
	}
	return true
}

// sameColumn: equal in every row, both having the same number of rows.
func sameColumn(a, b *Baseline, c int) bool {
	if a.allNull(c) || b.allNull(c) {
		return a.allNull(c) == b.allNull(c)
	}
	if !equal(a.nullsOf(c), b.nullsOf(c)) {
		return false
	}
	if a.lay.text(c) {
		return equal(a.textsOf(c), b.textsOf(c))
	}
	return equal(a.intsOf(c), b.intsOf(c))
}

// sameCell compares row i of a with row j of b.
func sameCell(a *Baseline, i int, b *Baseline, j, c int) bool {
	an, bn := a.isNull(c, i), b.isNull(c, j)
	if an || bn {
		return an == bn
	}
	if a.lay.text(c) {
		return a.texts[int(a.cols[c].at)+i] == b.texts[int(b.cols[c].at)+j]
	}
	return a.ints[int(a.cols[c].at)+i] == b.ints[int(b.cols[c].at)+j]
}

func sameKey(a *Baseline, i int, b *Baseline, j int) bool {
	for _, k := range a.lay.keys {
		if !sameCell(a, i, b, j, k) {
			return false
		}
	}
	return true
}

// newsUnique: no key occurs twice among the new rows.
func (c *counting) newsUnique() bool {
	if c.news < 2 {
		return true
	}
	c.buf.index.reset(c.news)
	for i := range c.n {
		if c.baseRow(i) < 0 && !c.buf.index.insert(c.next, i) {
			return false
		}
	}
	return true
}

// index is an open-addressing hash table of rows of one baseline.
type index struct {
	slots []int32 // row+1, 0 free
	mask  uint64
}

// Random, because the watched server chooses the keys.
var (
	hashSeed = maphash.MakeSeed()
	hashBase = maphash.String(hashSeed, "")
)

func (x *index) reset(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	x.slots = grow(&x.slots, size)
	clear(x.slots)
	x.mask = uint64(size - 1)
}

func (x *index) build(b *Baseline) {
	x.reset(b.n)
	for i := range b.n {
		x.insert(b, i)
	}
}

// insert reports false when the key is there already.
func (x *index) insert(b *Baseline, i int) bool {
	at := hashKey(b, i) & x.mask
	for ; x.slots[at] != 0; at = (at + 1) & x.mask {
		if sameKey(b, i, b, int(x.slots[at]-1)) {
			return false
		}
	}
	x.slots[at] = int32(i + 1)
	return true
}

// find gives the row of b that has the key of row i of a, -1 for none.
func (x *index) find(b, a *Baseline, i int) int {
	for at := hashKey(a, i) & x.mask; x.slots[at] != 0; at = (at + 1) & x.mask {
		if j := int(x.slots[at] - 1); sameKey(a, i, b, j) {
			return j
		}
	}
	return -1
}

func hashKey(b *Baseline, i int) uint64 {
	h := hashBase
	for _, k := range b.lay.keys {
		v := uint64(1) << 63
		switch {
		case b.isNull(k, i):
		case b.lay.text(k):
			v = maphash.String(hashSeed, b.texts[int(b.cols[k].at)+i])
		default:
			v = uint64(b.ints[int(b.cols[k].at)+i])
		}
		h = (h ^ v) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return h ^ h>>32
}

// grow gives a slice of n, reusing the buffer; its content is undefined.
func grow[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n, n+n/4)
	}
	*buf = (*buf)[:n]
	return *buf
}
