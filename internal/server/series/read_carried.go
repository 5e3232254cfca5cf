package series

import (
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/server/snapshot"
	"github.com/pganalytics/pganalytics/internal/server/store"
)

func mapsKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// held is a gauge's row that still counts.
type held struct {
	group string
	value float64
	tick  int64 // of the row
}

// carrier walks one stream's ticks and keeps what its rows hold.
type carrier struct {
	rows   map[string]held // by the family's keys
	groups map[string]float64
	queue  []arrival // in order of time, to let go of old rows
	next   int       // index of the next frame of the stream
	max    bool      // rows of a tick are put together by max
}

type arrival struct {
	key  string
	tick int64
}

// carried reads gauges of a family that stores a row only when it changed: at a
// stored tick without a row the value is as before, at most an hour old.
func (r *seriesReader) carried() error {
	f := r.q.Family
	var gauges []string
	for _, c := range f.OfKind(catalog.Gauge) {
		gauges = append(gauges, store.Quote(c.Name)+" IS NULL")
	}
	since := r.q.Window.From - lookBack - r.q.Every
	args := append([]any{r.q.Instance, snapshot.Micros(since)}, r.args[2:]...)
	rows, err := r.tx.Query(r.ctx, fmt.Sprintf(`SELECT time, %s, %s, %s, COALESCE(%s::float8, 0), %s FROM %s WHERE %s ORDER BY 1`,
		r.streamExpr(), r.byExpr, r.allKeys(), store.Quote(r.q.Column.Name), strings.Join(gauges, " AND "), store.Quote(rawTable(f)), r.conditions()), args...)
	if err != nil {
		return err
	}
	carriers := map[int]*carrier{}
	of := func(i int) *carrier {
		c := carriers[i]
		if c == nil {
			c = &carrier{rows: map[string]held{}, groups: map[string]float64{}, max: combine(r.q.Column) == "max"}
			carriers[i] = c
		}
		return c
	}
	var (
		tick           snapshot.Micros
		datid, by, key string
		value          float64
		vanished       bool
	)
	_, err = pgx.ForEachRow(rows, []any{&tick, &datid, &by, &key, &value, &vanished}, func() error {
		i := r.stream(datid, int64(tick))
		c := of(i)
		c.advance(r, i, int64(tick)-1)
		c.put(key, held{r.group(by, int64(tick)), value, int64(tick)}, vanished)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range r.plot.streams {
		of(i).advance(r, i, r.q.Window.To)
	}
	return nil
}

func (r *seriesReader) allKeys() string {
	if len(r.q.Family.OfKind(catalog.Key)) == 0 {
		return "''"
	}
	return joinedKeys(r.q.Family)
}

// put replaces a row.
func (c *carrier) put(key string, h held, vanished bool) {
	c.remove(key)
	if vanished {
		return
	}
	c.rows[key] = h
	c.groups[h.group] += h.value
	c.queue = append(c.queue, arrival{key, h.tick})
}

func (c *carrier) remove(key string) {
	if old, found := c.rows[key]; found {
		c.groups[old.group] -= old.value
		delete(c.rows, key)
	}
}

// advance samples the stream's frames up to a tick.
func (c *carrier) advance(r *seriesReader, stream int, to int64) {
	frames := r.plot.streams[stream].frames
	for ; c.next < len(frames) && frames[c.next].Tick <= to; c.next++ {
		tick := frames[c.next].Tick
		for len(c.queue) > 0 && c.queue[0].tick < tick-lookBack-r.q.Every {
			if a := c.queue[0]; c.rows[a.key].tick == a.tick {
				c.remove(a.key)
			}
			c.queue = c.queue[1:]
		}
		if !c.max {
			for group, value := range c.groups {
				r.plot.sample(group, stream, tick, value)
			}
			continue
		}
		greatest := map[string]float64{}
		for _, h := range c.rows {
			greatest[h.group] = max(greatest[h.group], h.value)
		}
		for group, value := range greatest {
			r.plot.sample(group, stream, tick, value)
		}
	}
}
