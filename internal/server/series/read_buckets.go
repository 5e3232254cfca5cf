package series

import (
	"cmp"
	"math"
	"slices"

	"github.com/pganalytics/pganalytics/internal/server/ledger"
)

// grid cuts a window into buckets: bucket i is start + i*step < t <= start +
// (i+1)*step, as windows are open at their beginning. A frame that ends a bucket
// is that bucket's.
type grid struct {
	start, step int64
	n           int
}

func newGrid(w ledger.Window, step int64) grid {
	start := w.From - ((w.From%step)+step)%step
	return grid{start: start, step: step, n: int(max(0, (w.To-start+step-1)/step))}
}

// at gives the bucket of a moment, -1 when it is in none.
func (g grid) at(t int64) int {
	if t <= g.start {
		return -1
	}
	if i := (t - 1 - g.start) / g.step; i < int64(g.n) {
		return int(i)
	}
	return -1
}

// overlap is how much of bucket i lies within since < t <= at.
func (g grid) overlap(i int, since, at int64) int64 {
	from := g.start + int64(i)*g.step
	return min(at, from+g.step) - max(since, from)
}

// stream is the frames of one database (or of the instance) in a grid.
type stream struct {
	grid   grid
	frames []ledger.Frame
	homes  []int         // of each frame: the bucket of its tick
	fills  [][2]int      // of each frame: the buckets besides that it covers, from, to
	index  map[int64]int // frame by tick
	span   []int64       // by bucket: Σ (at − since) of the frames that count there
	count  []int64       // by bucket: frames that count there
	last   []int64       // by bucket: tick of the newest frame that counts there
}

// newStream places frames. A bucket shows the frames whose tick it holds; one that
// holds none shows the frame that covers most of it, if there is one: so a frame
// that is longer than a bucket fills every bucket it covers. held is how long a
// value counts when frames have no span of their own (gauges); 0 for counters,
// whose frames without a span only set baselines and count nowhere.
func newStream(g grid, frames []ledger.Frame, held int64) *stream {
	s := &stream{grid: g, frames: frames, homes: make([]int, len(frames)), fills: make([][2]int, len(frames)), index: make(map[int64]int, len(frames)),
		span: make([]int64, g.n), count: make([]int64, g.n), last: make([]int64, g.n)}
	occupied := make([]bool, g.n)
	for i, f := range frames {
		s.index[f.Tick] = i
		s.homes[i] = g.at(f.Tick)
		if held == 0 && f.At <= f.Since {
			s.homes[i] = -1
		}
		if h := s.homes[i]; h >= 0 {
			occupied[h] = true
		}
	}
	for i, f := range frames {
		h := s.homes[i]
		if h < 0 {
			continue
		}
		since, at := f.Since, f.At
		if held > 0 {
			since, at = f.Tick-held, f.Tick
		}
		lo, hi := h, h+1
		for lo > 0 && !occupied[lo-1] && 2*g.overlap(lo-1, since, at) > g.step {
			lo--
		}
		for hi < g.n && !occupied[hi] && 2*g.overlap(hi, since, at) > g.step {
			hi++
		}
		s.fills[i] = [2]int{lo, hi}
		for b := lo; b < hi; b++ {
			s.span[b] += at - since
			s.count[b]++
			s.last[b] = max(s.last[b], f.Tick)
		}
	}
	return s
}

// cell is what one group has in one bucket of one stream.
type cell struct {
	sum     int64 // counters: Σ deltas of the frames that count in the bucket
	home    int64 // counters: Σ deltas of the frames whose tick is in it
	value   float64
	max     float64
	samples int64
	last    int64 // tick of lastValue
	lastVal float64
}

type groupKey struct {
	group  string
	stream int
}

// plot gathers groups over streams.
type plot struct {
	grid    grid
	streams []*stream
	cells   map[groupKey][]cell
	groups  map[string]bool
}

func newPlot(g grid, streams []*stream) *plot {
	return &plot{grid: g, streams: streams, cells: map[groupKey][]cell{}, groups: map[string]bool{}}
}

func (p *plot) of(group string, stream int) []cell {
	k := groupKey{group, stream}
	c := p.cells[k]
	if c == nil {
		c = make([]cell, p.grid.n)
		p.cells[k] = c
		p.groups[group] = true
	}
	return c
}

// delta adds what a frame counted for a group.
func (p *plot) delta(group string, stream int, tick, delta int64) {
	c := p.of(group, stream)
	s := p.streams[stream]
	i, known := s.index[tick]
	if !known || s.homes[i] < 0 {
		// No frame, no rate; but what was counted still adds up.
		if b := p.grid.at(tick); b >= 0 {
			c[b].home += delta
		}
		return
	}
	c[s.homes[i]].home += delta
	for b := s.fills[i][0]; b < s.fills[i][1]; b++ {
		c[b].sum += delta
	}
}

// sample adds a gauge's value at a stored tick.
func (p *plot) sample(group string, stream int, tick int64, value float64) {
	s := p.streams[stream]
	i, known := s.index[tick]
	if !known || s.homes[i] < 0 {
		return
	}
	c := p.of(group, stream)
	for b := s.fills[i][0]; b < s.fills[i][1]; b++ {
		x := &c[b]
		x.value += value
		if x.samples == 0 || value > x.max {
			x.max = value
		}
		x.samples++
		if tick >= x.last {
			x.last, x.lastVal = tick, value
		}
	}
}

// Line is one series: Values by bucket, NaN where there is a gap. For deltas Exact
// holds the same in wire units.
type Line struct {
	Label  string // the value of `by`
	Values []float64
	Exact  []int64
}

// maxLines bounds an answer; what is beyond is put together in one line.
const (
	maxLines = 200
	others   = "(other)"
)

// lines puts streams together by fn. scale is wire units per documented unit.
func (p *plot) lines(fn string, scale int64) []Line {
	out := make([]Line, 0, len(p.groups))
	for group := range p.groups {
		l := Line{Label: group, Values: make([]float64, p.grid.n)}
		if fn == "delta" {
			l.Exact = make([]int64, p.grid.n)
		}
		for b := range l.Values {
			l.Values[b] = math.NaN()
			for i, s := range p.streams {
				if v, exact, ok := s.value(p.cells[groupKey{group, i}], b, fn); ok {
					if math.IsNaN(l.Values[b]) {
						l.Values[b] = 0
					}
					l.Values[b] += v / float64(scale)
					if l.Exact != nil {
						l.Exact[b] += exact
					}
				}
			}
		}
		out = append(out, l)
	}
	weight := func(l *Line) (w float64) {
		for _, v := range l.Values {
			if !math.IsNaN(v) {
				w += math.Abs(v)
			}
		}
		return w
	}
	slices.SortFunc(out, func(x, y Line) int { return cmp.Or(cmp.Compare(weight(&y), weight(&x)), cmp.Compare(x.Label, y.Label)) })
	if len(out) > maxLines {
		rest := out[maxLines-1]
		rest.Label = others
		for _, l := range out[maxLines:] {
			rest.add(&l, fn)
		}
		out = append(out[:maxLines-1], rest)
	}
	return out
}

func (l *Line) add(o *Line, fn string) {
	for b, v := range o.Values {
		switch {
		case math.IsNaN(v):
			continue
		case math.IsNaN(l.Values[b]):
			l.Values[b] = v
		case fn == "max":
			l.Values[b] = max(l.Values[b], v)
		default:
			l.Values[b] += v
		}
		if l.Exact != nil {
			l.Exact[b] += o.Exact[b]
		}
	}
}

// value gives what a group (cells may be nil: it had no rows) shows in bucket b of
// a stream, and whether the stream has anything there.
func (s *stream) value(cells []cell, b int, fn string) (v float64, exact int64, ok bool) {
	var c cell
	if cells != nil {
		c = cells[b]
	}
	switch fn {
	case "rate":
		if s.span[b] <= 0 {
			return 0, 0, false
		}
		return float64(c.sum) / (float64(s.span[b]) / 1e6), 0, true
	case "delta":
		if !s.homed(b) && c.home == 0 {
			return 0, 0, false
		}
		return float64(c.home), c.home, true
	}
	n := s.count[b]
	if n == 0 {
		return 0, 0, false
	}
	switch fn {
	case "max":
		if c.samples < n { // absent at some tick: 0 there
			return max(c.max, 0), 0, true
		}
		return c.max, 0, true
	case "last":
		if c.last != s.last[b] {
			return 0, 0, true
		}
		return c.lastVal, 0, true
	default:
		return c.value / float64(n), 0, true
	}
}

// homed reports whether a frame that counts has its tick in bucket b.
func (s *stream) homed(b int) bool {
	t := s.last[b]
	return t != 0 && s.grid.at(t) == b
}
