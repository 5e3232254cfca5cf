package agent

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// The schedule, as pure step functions: they are told the time (microseconds since
// the Unix epoch, the collector's wall clock) and never ask for it. What a
// timetable plans is exactly what its announced frame.Schedule rows plan, since the
// backend computes `planned` from these (I4); each planned tick leaves it exactly
// once, as due or as missed.

// segment is a stretch of evenly spaced ticks: From, From+Every, … up to Until
// (0: open) and before the next segment begins. Every 0 plans nothing.
type segment struct {
	From, Until, Every int64
	told               bool  // announced durably
	toldUntil          int64 // and with this end
	offered            bool  // in a draft, which may fail
}

// known says that the backend has the segment as it is now.
func (s segment) known() bool { return s.told && s.toldUntil == s.Until }

const never = int64(1<<63 - 1)

// line is the plan of one family in one database of an instance.
type line struct {
	Database string // "" for families of scope instance
	Family   string
	Via      string // the database that it is read in
	Segments []segment
	// Last is the newest tick that left the timetable, as due or missed.
	Last int64
	// Done is the newest tick whose outcome, like that of all before it, is durably
	// in the spool; what a restart goes on from.
	Done int64
	// note is what the announced schedule says beside the ticks: Reason, Limit,
	// Detail, Remedy, Absent.
	note frame.Schedule
}

// run is N ticks of a line from First to Last, evenly spaced.
type run struct {
	First, Last, N int64
}

func (r run) every() int64 {
	if r.N < 2 {
		return 0
	}
	return (r.Last - r.First) / (r.N - 1)
}

// align is the first tick after t of the grid of a period: ticks lie at offset
// modulo every, so grids of multiples of one interval share their ticks.
func align(t, every, offset int64) int64 {
	n := (t - offset) / every
	if tick := offset + n*every; tick > t {
		return tick
	}
	return offset + (n+1)*every
}

// offsetOf spreads the ticks of instances over min(interval/4, 5 s), by name, so
// that a restart keeps the grid.
func offsetOf(instance string, interval time.Duration) int64 {
	h := fnv.New64a()
	h.Write([]byte(instance))
	span := min(interval/4, 5*time.Second).Milliseconds()
	if span < 1 {
		return 0
	}
	return int64(h.Sum64()>>1) % span * 1000
}

// The short schedule of what is new: ticks at once and 5 s later.
const shortEvery = 5 * int64(time.Second/time.Microsecond)

// fresh plans a family that is new at t: the short schedule, then the grid, not so
// soon that the last short tick is still being read. The short schedule is cut to
// its first tick when the grid is as fast. Beside it the lane's other families are
// read at the ticks of base: a short tick just before or after one of these would
// be read while they are due, or they while it is, and a tick would be lost.
func fresh(t, every, base, offset int64) []segment {
	second := joined(t+shortEvery, base, offset)
	short := segment{From: t, Until: second, Every: second - t}
	if every <= shortEvery {
		short.Until, short.Every = t, shortEvery
	}
	return []segment{short, {From: align(short.Until+min(every/2, shortEvery), every, offset), Every: every}}
}

// joined is t, or the tick of the grid that lies within a second of it.
func joined(t, every, offset int64) int64 {
	const close = int64(time.Second / time.Microsecond)
	after := align(t-1, every, offset)
	switch {
	case after-t < close:
		return after
	case t-(after-every) < close:
		return after - every
	}
	return t
}

// floor is the moment after which a change of the plan may begin: schedules hold
// until the next one begins, so that none may begin before one announced earlier.
func (l *line) floor(now int64) int64 {
	t := max(now, l.Last)
	if n := len(l.Segments); n > 0 {
		t = max(t, l.Segments[n-1].From)
	}
	return t
}

// add lets segments take over from the first one's From on, which is after floor
// (or, for a line without segments, anywhere). The one before ends there by its own
// row, not by being followed: should the clock go back behind its beginning, a later
// row may begin before it and would seem to be followed by it.
func (l *line) add(segments ...segment) {
	if n := len(l.Segments); n > 0 {
		last := &l.Segments[n-1]
		if end := max(last.From, segments[0].From-1); last.Until == 0 || last.Until > end {
			last.Until = end
		}
	}
	l.Segments = append(l.Segments, segments...)
}

// endOf is the last moment at which segment i may have a tick.
func (l *line) endOf(i int) int64 {
	end := never
	if u := l.Segments[i].Until; u != 0 {
		end = u
	}
	if i+1 < len(l.Segments) {
		end = min(end, l.Segments[i+1].From-1)
	}
	return end
}

// next is the first tick after Last.
func (l *line) next() (int64, bool) {
	for i, s := range l.Segments {
		if t := s.after(l.Last); t != never && t <= l.endOf(i) {
			return t, true
		}
	}
	return 0, false
}

// after is the segment's first tick after t, whatever its end.
func (s segment) after(t int64) int64 {
	if s.Every == 0 {
		return never
	}
	if t < s.From {
		return s.From
	}
	return s.From + ((t-s.From)/s.Every+1)*s.Every
}

// take lets all ticks up to and including t leave the line. The newest one is due
// when it is t itself; all others are missed.
func (l *line) take(t int64) (due bool, missed []run) {
	for i, s := range l.Segments {
		first := s.after(l.Last)
		end := min(l.endOf(i), t)
		if first == never || first > end {
			continue
		}
		n := (end-first)/s.Every + 1
		last := first + (n-1)*s.Every
		if last == t {
			due = true
			if n--; n == 0 {
				continue
			}
			last -= s.Every
		}
		missed = append(missed, run{First: first, Last: last, N: n})
	}
	l.Last = max(l.Last, t)
	l.trim()
	return due, missed
}

// trim forgets announced segments whose ticks are all accounted for: a restart goes
// on from Done, not from Last.
func (l *line) trim() {
	for len(l.Segments) > 1 && l.Segments[0].known() && l.endOf(0) <= l.Done {
		l.Segments = slices.Delete(l.Segments, 0, 1)
	}
}

// timetable is the plan of one lane of an instance.
type timetable struct {
	lines []*line
	// past are lines as they were before the clock went back, until all their ticks
	// and their end are durably in the spool. Rounds and debts from before point at
	// them.
	past []*line
}

func (t *timetable) find(database, family string) *line {
	for _, l := range t.lines {
		if l.Database == database && l.Family == family {
			return l
		}
	}
	return nil
}

// next is the earliest tick of all lines.
func (t *timetable) next() (int64, bool) {
	first, ok := int64(0), false
	for _, l := range t.lines {
		if n, planned := l.next(); planned && (!ok || n < first) {
			first, ok = n, true
		}
	}
	return first, ok
}

// newest is the newest tick of all lines that is not after now: the one to run. ok
// is false when none came due.
func (t *timetable) newest(now int64) (tick int64, ok bool) {
	for _, l := range t.lines {
		for i, s := range l.Segments {
			first, end := s.after(l.Last), min(l.endOf(i), now)
			if first == never || first > end {
				continue
			}
			if last := first + (end-first)/s.Every*s.Every; !ok || last > tick {
				tick, ok = last, true
			}
		}
	}
	return tick, ok
}

// missedTick is a run of a line's ticks that no round took.
type missedTick struct {
	line *line
	run
}

// take lets every tick up to tick leave: the lines due at tick, and what was missed.
func (t *timetable) take(tick int64) (due []*line, missed []missedTick) {
	for _, l := range t.lines {
		isDue, runs := l.take(tick)
		if isDue {
			due = append(due, l)
		}
		for _, r := range runs {
			missed = append(missed, missedTick{l, r})
		}
	}
	return due, missed
}

// untold are the line's segments that the backend has still to learn of, and ends of
// those that it knows as going on. What the note says holds for the newest one;
// those before it are plain.
func (l *line) untold(lane catalog.Lane) []frame.Schedule {
	var out []frame.Schedule
	for i, s := range l.Segments {
		if s.known() {
			continue
		}
		l.Segments[i].offered = true
		row := frame.Schedule{Reason: frame.Closed}
		if !s.told {
			row = l.note
			if s.Every > 0 || i+1 < len(l.Segments) {
				row.Reason = ""
			}
			if s.Every == 0 && row.Reason == "" {
				row.Reason = frame.Closed // over before anyone heard of it: it planned nothing
			}
		}
		row.Family, row.Database, row.Lane = l.Family, l.Database, lane
		row.From, row.Until, row.Every = s.From, s.Until, s.Every
		out = append(out, row)
	}
	return out
}

// untold are the rows of all lines that are still to be announced.
func (t *timetable) untold(lane catalog.Lane) []frame.Schedule {
	var out []frame.Schedule
	for _, l := range slices.Concat(t.past, t.lines) {
		out = append(out, l.untold(lane)...)
	}
	return out
}

// tell marks the segment of an announced row.
func (t *timetable) tell(row frame.Schedule) {
	for _, l := range slices.Concat(t.past, t.lines) {
		if l.Database == row.Database && l.Family == row.Family {
			l.tell(row)
		}
	}
	t.past = slices.DeleteFunc(t.past, (*line).over)
}

func (l *line) tell(row frame.Schedule) {
	for i := range l.Segments {
		if s := &l.Segments[i]; s.From == row.From {
			s.told, s.toldUntil = true, row.Until
		}
	}
}

// forget drops all that is planned.
func (t *timetable) forget() { t.lines, t.past = nil, nil }

// closed says that the line has an end.
func (l *line) closed() bool {
	n := len(l.Segments)
	return n > 0 && l.Segments[n-1].Until != 0
}

// owing says that ticks after Done are not accounted for, though the line has an end.
func (l *line) owing() bool {
	c := line{Segments: l.Segments, Last: l.Done}
	_, ok := c.next()
	return ok
}

// over says that nobody needs a past line any more.
func (l *line) over() bool {
	return !l.owing() && !slices.ContainsFunc(l.Segments, func(s segment) bool { return !s.known() })
}

// rest lets all ticks up to t leave the line, t's own too.
func (l *line) rest(t int64) []run {
	due, missed := l.take(t)
	if due {
		missed = append(missed, run{First: t, Last: t, N: 1})
	}
	return missed
}

// The clock may go back, and what it showed before was announced and partly stored.
// Lines then go on from now on another timeline: its ticks differ from those of all
// others in their phase, which is the microseconds beside the millisecond. So no
// tick is ever used twice, whatever is planned on either of them; a grid lies a
// microsecond beside the one before. The old line ends with its last tick that was
// taken. Both are announced and accounted for, also where they overlap.
const phases = 1000

// moment is the first moment of the phase that is not before t.
func moment(t, phase int64) int64 { return align(t-1, phases, phase) }

// far is how much further than an interval away a next tick may be, because the
// clock went back, until a new timeline begins. Less than that is waited for.
const far = 2 * int64(time.Minute/time.Microsecond)

// far says that the clock went back so much that a new timeline is due.
func (t *timetable) far(now int64) bool {
	for _, l := range t.lines {
		if next, ok := l.next(); ok && l.planned() && next-now > l.every()+far {
			return true
		}
	}
	return false
}

// rewind begins the timeline of a phase. It gives ticks that were announced as the
// first ones of a schedule and will not come.
func (t *timetable) rewind(now, offset, phase int64) (missed []missedTick) {
	for i, l := range t.lines {
		every := int64(0)
		first := moment(now+1, phase)
		if l.planned() {
			every = l.every()
			first = align(now, every, offset+phase)
		}
		old := *l
		// The line's place is taken by the one that goes on: what points at the old one
		// means its ticks.
		next := &line{
			Database: l.Database, Family: l.Family, Via: l.Via, note: l.note, Last: first - 1, Done: first - 1,
			Segments: []segment{{From: first, Every: every}},
		}
		t.lines[i] = next
		l.Segments = nil
		for _, s := range old.Segments {
			if s.From > old.Last && !s.told && !s.offered {
				continue // nobody heard of it
			}
			if end := max(s.From, old.Last); s.Until == 0 || s.Until > end {
				s.Until = end
			}
			l.Segments = append(l.Segments, s)
		}
		if len(l.Segments) == 0 {
			continue
		}
		end := l.Segments[len(l.Segments)-1].Until
		for _, r := range l.rest(end) {
			missed = append(missed, missedTick{l, r})
		}
		if !l.over() {
			t.past = append(t.past, l)
		}
	}
	return missed
}

// planned says that ticks are planned from the newest segment on.
func (l *line) planned() bool { return len(l.Segments) > 0 && l.every() > 0 }

// every is the newest segment's.
func (l *line) every() int64 { return l.Segments[len(l.Segments)-1].Every }

// appendLines encodes lines for the spool: what a restarted collector must know to
// account for every tick since.
func appendLines(dst []byte, lines []*line) []byte {
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(len(lines)))
	for _, l := range lines {
		for _, s := range []string{l.Database, l.Family, l.Via} {
			dst = binary.AppendUvarint(dst, uint64(len(s)))
			dst = append(dst, s...)
		}
		dst = binary.AppendVarint(dst, l.Done)
		dst = binary.AppendUvarint(dst, uint64(len(l.Segments)))
		for _, s := range l.Segments {
			dst = binary.AppendVarint(dst, s.From)
			dst = binary.AppendVarint(dst, s.Until)
			dst = binary.AppendVarint(dst, s.Every)
		}
	}
	return dst
}

const stateVersion = 1

var errState = errors.New("malformed schedule state")

func decodeLines(b []byte) ([]*line, error) {
	if len(b) == 0 || b[0] != stateVersion {
		return nil, errState
	}
	d := stateReader{b: b[1:]}
	var out []*line
	for range d.count() {
		l := &line{Database: d.string(), Family: d.string(), Via: d.string(), Done: d.varint()}
		l.Last = l.Done
		for range d.count() {
			s := segment{From: d.varint(), Until: d.varint(), Every: d.varint(), told: true}
			s.toldUntil = s.Until
			if s.Every < 0 {
				return nil, errState
			}
			l.Segments = append(l.Segments, s)
		}
		out = append(out, l)
	}
	if d.bad || len(d.b) != 0 {
		return nil, errState
	}
	return out, nil
}

type stateReader struct {
	b   []byte
	bad bool
}

func (d *stateReader) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *stateReader) count() int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

func (d *stateReader) string() string {
	n := d.count()
	if d.bad || n > len(d.b) {
		d.bad = true
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
