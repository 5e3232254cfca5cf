package counter

import (
	"slices"
	"sync"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// layout is a family as Count needs it: columns by number.
type layout struct {
	family   *catalog.Family
	types    []catalog.Type // wire types
	keys     []int
	labels   []int
	counters []int
	gauges   []int
	resets   []int
	group    []int // by counter: which of resets governs it; 0 when there are none
	groups   int   // at least 1
	sums     []int
	by       []int // counters (ordinals) to rank by
	keeps    bool  // the baseline keeps rows
	state    bool
	hides    bool // rows with a NULL key are others' and come as sums

	memories, baselines sync.Pool // of *Memory and *Baseline that nobody has: see memory.go
}

var layouts sync.Map // *catalog.Family -> *layout

func layoutOf(f *catalog.Family) *layout {
	if l, ok := layouts.Load(f); ok {
		return l.(*layout)
	}
	l := &layout{
		family: f,
		keeps:  f.Shape == catalog.State || f.Shape == catalog.Sample && !f.Full,
		state:  f.Shape == catalog.State,
		hides:  f.Cut != nil,
	}
	ordinal := map[string]int{}
	for i := range f.Columns {
		c := &f.Columns[i]
		l.types = append(l.types, c.Wire())
		switch c.Kind {
		case catalog.Key:
			l.keys = append(l.keys, i)
			if slices.Contains(f.Sums, c.Name) {
				l.sums = append(l.sums, i)
			}
		case catalog.Label:
			l.labels = append(l.labels, i)
		case catalog.Counter:
			ordinal[c.Name] = len(l.counters)
			l.counters = append(l.counters, i)
		case catalog.Gauge:
			l.gauges = append(l.gauges, i)
		case catalog.Reset:
			l.resets = append(l.resets, i)
		}
	}
	l.groups = max(1, len(l.resets))
	l.group = make([]int, len(l.counters))
	for k, i := range l.counters {
		if by := f.Columns[i].ResetBy; by != "" {
			l.group[k] = slices.IndexFunc(l.resets, func(r int) bool { return f.Columns[r].Name == by })
		}
	}
	if f.Cut != nil {
		for _, name := range f.Cut.By {
			l.by = append(l.by, ordinal[name])
		}
	}
	got, _ := layouts.LoadOrStore(f, l)
	return got.(*layout)
}

func (l *layout) text(c int) bool { return l.types[c] == catalog.Text }

func (l *layout) name(c int) string { return l.family.Columns[c].Name }

// showsUnchanged: its rows say something even when nothing was counted.
func (l *layout) showsUnchanged() bool { return len(l.gauges)+len(l.labels) > 0 }
