package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const segmentExt = ".seg"

func segmentName(ord, nonce uint64) string {
	return fmt.Sprintf("%016x-%016x%s", ord, nonce, segmentExt)
}

func parseSegmentName(name string) (ord, nonce uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, segmentExt)
	a, b, found := strings.Cut(stem, "-")
	if !ok || !found || len(a) != 16 || len(b) != 16 {
		return 0, 0, false
	}
	ord, err := strconv.ParseUint(a, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	nonce, err = strconv.ParseUint(b, 16, 64)
	return ord, nonce, err == nil && name == segmentName(ord, nonce)
}

// write makes entries durable as one group, in order, and applies them. After a
// failure nothing of them counts: the next segment starts at their LSN. A failure
// other than a full disk is tried once more, in a new segment. The token is held.
func (s *Spool) write(group []*entry) error {
	err := s.tryWrite(group)
	if err != nil && !noSpace(err) {
		err = s.tryWrite(group)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if s.lastErr != nil {
			s.log.Info("spool writes again", "failed", s.failures)
		}
		s.lastErr, s.failures = nil, 0
		return nil
	}
	if noSpace(err) {
		s.stats.NoSpace++
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if s.lastErr == nil {
		s.log.Warn("spool write failed", "err", err)
	}
	s.lastErr = err
	s.retryAt = s.opt.Now().Add(min(minBackoff<<min(s.failures, 10), maxBackoff))
	s.failures++
	return err
}

func (s *Spool) tryWrite(group []*entry) error {
	var size int64
	for _, e := range group {
		size += e.size
	}
	if s.cur != nil && s.cur.size > 0 && s.cur.size+size > s.opt.SegmentSize {
		s.seal()
	}
	seg, file, fresh := s.cur, s.file, false
	if seg == nil {
		var err error
		seg, file, err = s.createSegment()
		if err != nil {
			s.countFailure()
			return err
		}
		fresh = true
		group = append([]*entry{s.markEntry()}, group...)
	}
	floor := seg.base
	for _, g := range s.segs {
		if !g.doomed {
			floor = min(floor, g.base)
		}
	}
	places := s.encode(group, seg, floor)
	_, err := file.WriteAt(s.buf, seg.size)
	if err == nil {
		err = s.sync(file, fresh)
	}
	if err != nil {
		s.countFailure()
		s.abandon(seg, file)
		return fmt.Errorf("write %s: %w", seg.name, err)
	}

	s.mu.Lock()
	if fresh {
		s.segs = append(s.segs, seg)
		s.cur, s.file = seg, file
	}
	seg.size += int64(len(s.buf))
	s.written += int64(len(s.buf))
	s.nextLSN += uint64(len(group))
	s.stats.Groups++
	for i, e := range group {
		if e.apply != nil {
			e.apply(places[i])
		}
	}
	s.mu.Unlock()
	if cap(s.buf) > 1<<20 {
		s.buf = nil // a big one is rare
	}
	s.unlink(floor)
	return nil
}

// encode fills s.buf with the group as it shall stand at the end of seg.
func (s *Spool) encode(group []*entry, seg *segment, floor uint64) []place {
	places := make([]place, len(group))
	b := s.buf[:0]
	redo := len(s.redo) > 0 // then the group is that
	for i, e := range group {
		start := len(b)
		b = append(b, make([]byte, headerSize)...)
		if e.lead != nil {
			b = e.lead(b)
		}
		lead := b[start+headerSize:]
		h := header{
			typ: e.typ, redo: redo, index: uint16(i), count: uint16(len(group)), lead: uint32(len(lead)),
			lsn: s.nextLSN + uint64(i), base: seg.base, floor: floor, leadCRC: checksum(lead),
		}
		for _, part := range e.body {
			b = append(b, part...)
			h.body += uint32(len(part))
		}
		places[i] = place{seg: seg, off: seg.size + int64(start), h: h}
	}
	end := seg.size + int64(len(b))
	for i := range places {
		p := &places[i]
		p.h.rest = restCode(int(end - p.off - p.h.size()))
		p.h.put(b[p.off-seg.size:], seg.nonce, p.off)
	}
	s.buf = b
	return places
}

func (s *Spool) sync(file File, fresh bool) error {
	s.mu.Lock()
	s.stats.Syncs++
	s.mu.Unlock()
	if !fresh {
		return file.Datasync()
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

func (s *Spool) countFailure() {
	s.mu.Lock()
	s.stats.WriteFailures++
	s.mu.Unlock()
}

func (s *Spool) createSegment() (*segment, File, error) {
	var b [8]byte
	rand.Read(b[:])
	seg := &segment{ord: s.nextOrd, nonce: binary.LittleEndian.Uint64(b[:]), base: s.nextLSN, began: s.written}
	seg.name = segmentName(seg.ord, seg.nonce)
	s.nextOrd++
	file, err := s.fs.Create(s.path(seg.name))
	if err != nil {
		return nil, nil, fmt.Errorf("create %s: %w", seg.name, err)
	}
	return seg, file, nil
}

// abandon leaves a file after a failure: it is cut to what is durable, or removed if
// nothing is. Both are courtesy: what is left of it is void.
func (s *Spool) abandon(seg *segment, file File) {
	_ = file.Close() // the file has failed already
	s.mu.Lock()
	if s.cur == seg {
		s.cur, s.file = nil, nil
	}
	s.mu.Unlock()
	var err error
	if seg.size > 0 {
		err = s.fs.Truncate(s.path(seg.name), seg.size)
	} else {
		err = s.fs.Remove(s.path(seg.name))
	}
	if err != nil {
		s.log.Debug("spool cannot cut a failed segment", "file", seg.name, "err", err)
	}
}

// seal ends the current segment. Everything in it is durable.
func (s *Spool) seal() {
	if s.file == nil {
		return
	}
	if err := s.file.Close(); err != nil {
		s.log.Debug("spool cannot close a segment", "file", s.cur.name, "err", err)
	}
	s.mu.Lock()
	s.cur, s.file = nil, nil
	s.mu.Unlock()
}

// markEntry holds what must be known when no batch is left.
func (s *Spool) markEntry() *entry {
	return &entry{typ: typeMark, size: headerSize + 20*int64(len(s.epochs)+2), lead: func(b []byte) []byte {
		return (&markLead{last: s.last, epochs: s.epochs}).append(b)
	}}
}

// unlink removes doomed segments below the floor, which is durable.
func (s *Spool) unlink(floor uint64) {
	for len(s.segs) > 1 && s.segs[0].doomed && s.segs[1].base <= floor {
		seg := s.segs[0]
		s.reading.Lock()
		err := s.fs.Remove(s.path(seg.name))
		s.reading.Unlock()
		s.mu.Lock()
		if err != nil && !isNotExist(err) {
			s.stats.UnlinksFailed++
			s.mu.Unlock()
			s.log.Warn("spool cannot remove a segment", "file", seg.name, "err", err)
			return // the next one tries again
		}
		s.segs = append(s.segs[:0:0], s.segs[1:]...)
		s.mu.Unlock()
	}
}

// writeFloor makes a floor durable when segments wait for one, so that they go.
func (s *Spool) writeFloor() error {
	if len(s.segs) == 0 || !s.segs[0].doomed {
		return nil
	}
	return s.write([]*entry{s.markEntry()})
}

// readUnit reads a unit's lead, and with data its data. errDamaged: the bytes are
// not what was written. reading is held, and the unit's place as given is that under
// mu.
func (s *Spool) readUnit(r *reader, at unitPlace, data bool) (*unitLead, []byte, error) {
	f, err := r.open(at.seg)
	if err != nil {
		return nil, nil, err
	}
	b := make([]byte, headerSize+int64(at.lead))
	if err := readAt(f, b, at.off); err != nil {
		return nil, nil, err
	}
	h, ok := parseHeader(b, at.seg.nonce, at.off)
	if !ok || h.lead != at.lead || checksum(b[headerSize:]) != h.leadCRC {
		return nil, nil, errDamaged
	}
	l, err := decodeUnit(b[headerSize:], h.body)
	if err != nil || l.last != at.last {
		return nil, nil, errDamaged
	}
	if !data {
		return l, nil, nil
	}
	d := make([]byte, l.data)
	if err := readAt(f, d, at.off+h.size()-int64(l.data)); err != nil {
		return l, nil, err
	}
	if checksum(d) != l.dataCRC {
		return l, nil, errDamaged
	}
	return l, d, nil
}

// errDamaged: what was read is not what was written.
var errDamaged = errors.New("damaged record")

// unitPlace is where a unit stands, taken under mu.
type unitPlace struct {
	seg  *segment
	off  int64
	lead uint32
	last ID
}

func (u *unit) place() unitPlace { return unitPlace{u.seg, u.off, u.lead, u.last} }

// reader keeps segments open during one operation.
type reader struct {
	s     *Spool
	files map[*segment]File
}

func (r *reader) open(seg *segment) (File, error) {
	if f := r.files[seg]; f != nil {
		return f, nil
	}
	f, err := r.s.fs.Open(r.s.path(seg.name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", seg.name, err)
	}
	if r.files == nil {
		r.files = map[*segment]File{}
	}
	r.files[seg] = f
	return f, nil
}

func (r *reader) close() {
	for _, f := range r.files {
		_ = f.Close() // only read
	}
}

// readTries is how often a read is tried that fails.
const readTries = 3

// readAt fills b. errDamaged: the file is shorter than it was.
func readAt(f File, b []byte, off int64) error {
	var n int
	var err error
	for range readTries {
		n, err = f.ReadAt(b, off)
		if n == len(b) {
			return nil
		}
		if isEOF(err) {
			return errDamaged
		}
	}
	return fmt.Errorf("read at %d: %w", off, err)
}

// passing says that a failure to read may be over soon, so that nothing should be
// given up for it yet; failed counts.
func passing(err error, failed *uint8) bool {
	if errors.Is(err, errDamaged) || isNotExist(err) || *failed >= maxReads {
		return false
	}
	*failed++
	return true
}
