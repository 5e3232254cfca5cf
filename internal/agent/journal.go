package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// journal is the spool as the agent sees it: it knows batches and baselines where
// the spool knows bytes, and it owns the collector's identity.
type journal struct {
	fs    spool.FS
	dir   string // data_dir
	spool *spool.Spool
	lost  *damage // what was found when it was opened

	mu         sync.Mutex // guards what follows
	collector  frame.CollectorID
	closed     bool   // nothing is appended: the identity is being changed
	generation uint64 // counts changes of the identity; batches counted from older baselines are not appended
	token      string
}

const (
	spoolDir  = "spool"
	tokenFile = "collector-token"
)

// errStale says that the identity changed while a batch was made: it must be
// counted again, from new baselines.
var errStale = errors.New("the collector's identity changed")

func openJournal(ctx context.Context, fsys spool.FS, dir string, opt spool.Options) (*journal, *spool.Recovered, error) {
	j := &journal{fs: fsys, dir: dir}
	opt.Merge = mergeGaps
	// Called while the lock is held. Without an id there are no batches to read.
	j.lost = newDamage(sync.OnceValue(func() frame.CollectorID {
		id, _, err := spool.LoadOrCreateIdentity(fsys, dir)
		if err != nil {
			return frame.CollectorID{}
		}
		return frame.CollectorID(id)
	}))
	opt.Lost, opt.Voided = j.lost.lost, j.lost.voided
	// The lock comes first: two collectors on one folder must not race for the id.
	s, found, err := spool.Open(ctx, fsys, filepath.Join(dir, spoolDir), opt)
	if err != nil {
		return nil, nil, err
	}
	id, _, err := spool.LoadOrCreateIdentity(fsys, dir)
	if err != nil {
		_ = s.Close() // nothing was appended
		return nil, nil, fmt.Errorf("read the collector's id: %w", err)
	}
	if token, err := spool.ReadFile(fsys, filepath.Join(dir, tokenFile), 4096); err == nil {
		j.token = strings.TrimSpace(string(token)) // unreadable: register again
	}
	j.spool, j.collector = s, frame.CollectorID(id)
	return j, found, nil
}

func (j *journal) identity() (frame.CollectorID, uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.collector, j.generation
}

func (j *journal) frameID(id spool.ID) frame.ID {
	if id.IsZero() {
		return frame.ID{}
	}
	return frame.ID{Collector: j.collector, Epoch: id.Epoch, Seq: id.Seq}
}

// scratch is memory for what is appended, used again. What records point to stays
// until they are durable: then keep is emptied.
type scratch struct {
	raw  []byte // of the batch being encoded
	keep []byte
}

const maxScratch = 1 << 20 // a giant batch must not hold memory for ever

// reset is called when all that points to the memory is durable, or given up.
func (s *scratch) reset() {
	if s.keep = s.keep[:0]; cap(s.keep) > maxScratch {
		s.keep = nil
	}
	if cap(s.raw) > maxScratch {
		s.raw = nil
	}
}

// gap appends the gap form of a batch to what is kept.
func (s *scratch) gap(b *frame.Batch) []byte {
	from := len(s.keep)
	s.keep = frame.AppendGap(s.keep, frame.NewGap(b))
	return s.keep[from:len(s.keep):len(s.keep)]
}

// append makes a batch and its baselines durable. The batch's ids are filled in.
// generation is the one that its baselines belong to. s may hold the baselines.
func (j *journal) append(ctx context.Context, generation uint64, b *frame.Batch, baselines []spool.Baseline, s *scratch) error {
	p, err := j.begin(ctx, generation, b, baselines, s)
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// begin is append without the wait; s is not to be reset before that.
func (j *journal) begin(ctx context.Context, generation uint64, b *frame.Batch, baselines []spool.Baseline, s *scratch) (*spool.Pending, error) {
	gap := s.gap(b)
	return j.spool.Begin(ctx, func(id, prev spool.ID) (spool.Record, error) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.closed || j.generation != generation {
			return spool.Record{}, errStale
		}
		b.ID, b.Prev = j.frameID(id), j.frameID(prev)
		s.raw = frame.AppendBatch(s.raw[:0], b)
		return spool.Record{
			Kind: spool.Batch, Tick: b.Tick, CRC: frame.Checksum(s.raw), RawLen: len(s.raw), Data: frame.CompressBatch(s.raw), Gap: gap, Baselines: baselines,
		}, nil
	})
}

// reset begins a new identity: the backend has batches of the present one that this
// disk never made, so the disk was restored from a copy, or copied. What waits to be
// shipped divides by epoch, of which every process has its own:
//
//   - Batches of this process were counted from baselines of another past: what they
//     hold is, in part, in batches that the backend has or will get. They are dropped;
//     their ticks will be missing, their counts are unobserved(restored).
//   - Those of processes before it were made before the copy was. Wherever else they
//     are, they have the same id and the same content, and their counts are in no
//     other batch; so the old identity can still ship them and nothing doubles: the
//     backend takes each id once. push does that, with a queue that holds them alone,
//     and ends when done is. What it leaves is dropped: it is at a backend that can't
//     be reached, or under an id that has other content there.
//
// A machine that was cloned while the collector ran has two processes of one epoch:
// then all that waits of it is dropped, and the twin ships what both have.
//
// Nothing is appended meanwhile. Each step is durable before the next, and the new
// identity is the last: whoever starts between finds the old one, learns the same
// from the backend, and begins again.
func (j *journal) reset(ctx context.Context, push func(ctx context.Context, q ship.Queue, done func() bool)) error {
	j.mu.Lock()
	j.closed = true
	j.generation++
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		j.closed = false
		j.mu.Unlock()
	}()
	// j.mu must be free: what is being appended needs it and is waited for.
	epoch := j.spool.Epoch()
	if err := j.spool.NewEpoch(ctx, func(id spool.ID) bool { return id.Epoch == epoch }); err != nil {
		return err
	}
	left := func() bool { return j.spool.Stats().Pending > 0 }
	if left() {
		push(ctx, formerQueue{queue{j}}, func() bool { return !left() })
	}
	if err := j.spool.NewEpoch(ctx, func(spool.ID) bool { return true }); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.saveToken(""); err != nil {
		return err
	}
	id, err := spool.NewIdentity(j.fs, j.dir)
	if err != nil {
		return err
	}
	j.collector = frame.CollectorID(id)
	return nil
}

func (j *journal) saveToken(token string) error {
	if err := spool.WriteFileAtomic(j.fs, filepath.Join(j.dir, tokenFile), []byte(token+"\n")); err != nil {
		return err
	}
	j.token = token
	return nil
}

// queue is the journal as package ship sees it.
type queue struct{ j *journal }

// Pending implements ship.Queue.
func (q queue) Pending(ctx context.Context, limit, bytes int, skip func(frame.ID) bool) ([]*frame.Envelope, error) {
	collector, _ := q.j.identity()
	items, err := q.j.spool.Next(ctx, limit, bytes, func(id spool.ID) bool {
		return skip(frame.ID{Collector: collector, Epoch: id.Epoch, Seq: id.Seq})
	})
	var out []*frame.Envelope
	for _, it := range items {
		e := &frame.Envelope{
			Kind: frame.KindBatch, ID: q.j.frameID(it.ID), Prev: q.j.frameID(it.Prev), FirstSeq: it.FirstSeq,
			Tick: it.Tick, CRC: it.CRC, RawLen: it.RawLen, Data: it.Data,
		}
		if it.Kind == spool.Gap {
			e.Kind, e.Reason = frame.KindGap, it.Reason
			fillGap(e, it.Gap)
		}
		out = append(out, e)
	}
	return out, err
}

// Ack implements ship.Queue.
func (q queue) Ack(ids ...frame.ID) {
	for _, id := range ids {
		q.j.spool.Ack(spool.ID{Epoch: id.Epoch, Seq: id.Seq})
	}
}

// Refuse implements ship.Queue.
func (q queue) Refuse(id frame.ID, reason string) error {
	err := q.j.spool.Refuse(spool.ID{Epoch: id.Epoch, Seq: id.Seq}, reason)
	if errors.Is(err, spool.ErrUnknown) {
		return nil // merged or dropped meanwhile
	}
	return err
}

// Oldest implements ship.Queue. The chain is not quite in the order of ticks, and
// rounds at work will append older ones: an hour's margin covers both.
func (q queue) Oldest() int64 {
	oldest := time.Now().UnixMicro()
	if _, tick, ok := q.j.spool.Oldest(); ok {
		oldest = min(oldest, tick)
	}
	return max(oldest-time.Hour.Microseconds(), 1) // a gap may not know its tick
}

// Appended implements ship.Queue.
func (q queue) Appended() <-chan struct{} { return q.j.spool.Appended() }

// Made implements ship.Queue.
func (q queue) Made(epoch, seq uint64) bool { return q.j.spool.Made(spool.ID{Epoch: epoch, Seq: seq}) }

var _ ship.Queue = queue{}

// formerQueue is what waits under an identity that is given up: that the backend has
// batches which this spool never made is known.
type formerQueue struct{ queue }

// Made implements ship.Queue.
func (formerQueue) Made(uint64, uint64) bool { return true }

// emptyGap stands for a batch of which nothing could be read.
var emptyGap = sync.OnceValue(func() []byte { return frame.AppendGap(nil, &frame.Gap{}) })

// fillGap makes an envelope carry a gap. The spool keeps gaps as they are, since few
// are ever sent; sums that are lost make an empty one.
func fillGap(e *frame.Envelope, raw []byte) {
	if len(raw) == 0 {
		raw = emptyGap()
	}
	e.RawLen, e.CRC, e.Data = len(raw), frame.Checksum(raw), frame.Compress(raw)
}

// mergeGaps is spool.Options.Merge.
func mergeGaps(raw [][]byte) ([]byte, error) {
	gaps := make([]*frame.Gap, 0, len(raw))
	for _, r := range raw {
		if len(r) == 0 {
			continue
		}
		g, err := frame.DecodeGap(r)
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, g)
	}
	return frame.AppendGap(nil, frame.MergeGaps(gaps...)), nil
}
