package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Record types.
const (
	typeUnit   = 1 // a batch or gap with baselines
	typeAck    = 2 // ids that need not be shipped any more
	typeSent   = 3 // ids that may have reached the backend
	typeCarry  = 4 // a copy of one key's baseline; without links the key is forgotten
	typeMark   = 5 // newest id and known epochs; starts each segment, carries a floor
	typeForget = 6 // all baselines are void
)

const (
	headerSize = 52
	maxRecord  = 128 << 20 // header, lead and body; checked before anything is allocated
	maxGroup   = 1024      // records written together

	formatVersion = 1
	flagRedo      = 0x80
)

var magic = [4]byte{0x9e, 'P', 'g', 0xa7}

// header is the fixed part of a record. See the package's documentation.
type header struct {
	typ              uint8
	redo             bool   // its group copies records that an older segment may hold at the same LSNs
	index, count     uint16 // position in its group, records of the group
	lead, body       uint32 // lengths
	lsn, base, floor uint64
	leadCRC          uint32
	rest             uint16 // bytes of the group behind the record, see restCode
}

// restCode rounds a length up to 11 bits and an exponent, so that the next record,
// which takes at least a header, begins behind it: exact up to 2 KiB, within 52 bytes
// up to 100 KiB.
func restCode(n int) uint16 {
	e := 0
	for ; n > 2047; e++ {
		n = (n + 1) / 2
	}
	return uint16(e<<11 | n)
}

// groupEnd is where the record's group, which stands at off, ends at the latest. ok is
// false when that is not known: the record was written before this was noted.
func (h *header) groupEnd(off int64) (end int64, ok bool) {
	rest := int64(h.rest&2047) << (h.rest >> 11)
	return off + h.size() + rest, rest > 0 || h.index+1 == h.count
}

func (h *header) size() int64 { return headerSize + int64(h.lead) + int64(h.body) }

// groupStart is the LSN of the first record of the group.
func (h *header) groupStart() uint64 { return h.lsn - uint64(h.index) }

func (h *header) put(b []byte, nonce uint64, off int64) {
	copy(b, magic[:])
	b[4], b[5] = h.typ, formatVersion
	if h.redo {
		b[5] |= flagRedo
	}
	binary.LittleEndian.PutUint16(b[6:], h.index)
	binary.LittleEndian.PutUint32(b[8:], h.lead)
	binary.LittleEndian.PutUint32(b[12:], h.body)
	binary.LittleEndian.PutUint64(b[16:], h.lsn)
	binary.LittleEndian.PutUint64(b[24:], h.base)
	binary.LittleEndian.PutUint64(b[32:], h.floor)
	binary.LittleEndian.PutUint32(b[40:], h.leadCRC)
	binary.LittleEndian.PutUint16(b[44:], h.count)
	binary.LittleEndian.PutUint16(b[46:], h.rest)
	binary.LittleEndian.PutUint32(b[48:], headerCRC(b, nonce, off))
}

func headerCRC(b []byte, nonce uint64, off int64) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], nonce)
	binary.LittleEndian.PutUint64(place[8:], uint64(off))
	return crc32.Update(checksum(place[:]), castagnoli, b[:headerSize-4])
}

// parseHeader reads a header that stands at off of the segment with that nonce.
func parseHeader(b []byte, nonce uint64, off int64) (h header, ok bool) {
	if len(b) < headerSize || [4]byte(b) != magic || b[5]&^flagRedo != formatVersion ||
		binary.LittleEndian.Uint32(b[48:]) != headerCRC(b, nonce, off) {
		return h, false
	}
	h = header{
		typ:     b[4],
		index:   binary.LittleEndian.Uint16(b[6:]),
		lead:    binary.LittleEndian.Uint32(b[8:]),
		body:    binary.LittleEndian.Uint32(b[12:]),
		lsn:     binary.LittleEndian.Uint64(b[16:]),
		base:    binary.LittleEndian.Uint64(b[24:]),
		floor:   binary.LittleEndian.Uint64(b[32:]),
		leadCRC: binary.LittleEndian.Uint32(b[40:]),
		rest:    binary.LittleEndian.Uint16(b[46:]),
		count:   binary.LittleEndian.Uint16(b[44:]),
		redo:    b[5]&flagRedo != 0,
	}
	return h, h.size() <= maxRecord && h.lsn >= h.base && h.base >= 1 && h.index < h.count && uint64(h.index) < h.lsn
}

var errMalformed = errors.New("malformed record")

// cursor reads a lead; the first mistake sticks, and everything after it is zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) bytes() []byte { return c.take(c.uvarint()) }

func (c *cursor) id() ID {
	id := ID{Epoch: c.u64(), Seq: c.uvarint()}
	if id.Seq > maxSeq {
		c.bad = true
	}
	return id
}

const maxSeq = 1 << 62 // so that a loop over ids ends

// count reads a number of things that take at least min bytes each, so that it
// bounds what is allocated.
func (c *cursor) count(min int) int {
	n := c.uvarint()
	if n > uint64(len(c.b)/min) {
		c.bad, c.b = true, nil
		return 0
	}
	return int(n)
}

func (c *cursor) end() error {
	if c.bad || len(c.b) != 0 {
		return errMalformed
	}
	return nil
}

func appendID(b []byte, id ID) []byte {
	return binary.AppendUvarint(binary.LittleEndian.AppendUint64(b, id.Epoch), id.Seq)
}

func appendBytes[T string | []byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// unitLead describes a batch or gap. The body is the baselines' data, in order, and
// then the batch's data.
type unitLead struct {
	kind      Kind
	sent      bool
	last      ID     // its id; of a range the last one
	first     uint64 // first seq of a range, else last.Seq
	prev      ID
	order     uint64 // LSN of the record whose place it takes; 0: its own
	tick      int64
	crc       uint32
	rawLen    uint64
	reason    string
	gap       []byte
	baselines []linkLead
	data      uint32 // length
	dataCRC   uint32
}

// linkLead describes one blob of baseline in a body.
type linkLead struct {
	key  string
	full bool
	drop bool   // forgets the key
	prev uint64 // LSN of the key's link before; only of a patch
	lsn  uint64 // of the link, where it is not the record's own (carry)
	size uint32
	crc  uint32
	bad  bool // while recovering: the body is damaged here
}

const (
	flagSent   = 1
	flagFull   = 1
	flagForget = 2
)

func (u *unitLead) append(b []byte) []byte {
	var flags byte
	if u.sent {
		flags = flagSent
	}
	b = append(b, byte(u.kind), flags)
	b = appendID(b, u.last)
	b = binary.AppendUvarint(b, u.last.Seq-u.first)
	b = appendID(b, u.prev)
	b = binary.AppendUvarint(b, u.order)
	b = binary.AppendVarint(b, u.tick)
	b = binary.LittleEndian.AppendUint32(b, u.crc)
	b = binary.AppendUvarint(b, u.rawLen)
	b = appendBytes(b, u.reason)
	b = appendBytes(b, u.gap)
	b = binary.AppendUvarint(b, uint64(len(u.baselines)))
	for _, l := range u.baselines {
		b = appendBytes(b, l.key)
		flags := byte(0)
		if l.full {
			flags |= flagFull
		}
		if l.drop {
			flags |= flagForget
		}
		b = append(b, flags)
		b = binary.AppendUvarint(b, l.prev)
		b = binary.AppendUvarint(b, uint64(l.size))
		b = binary.LittleEndian.AppendUint32(b, l.crc)
	}
	b = binary.AppendUvarint(b, uint64(u.data))
	return binary.LittleEndian.AppendUint32(b, u.dataCRC)
}

// decodeUnit reads a unit's lead; body is the length of the record's body. gap
// points into b.
func decodeUnit(b []byte, body uint32) (*unitLead, error) {
	c := &cursor{b: b}
	u := &unitLead{kind: Kind(c.u8())}
	u.sent = c.u8()&flagSent != 0
	u.last = c.id()
	span := c.uvarint()
	u.first = u.last.Seq - span
	u.prev = c.id()
	u.order = c.uvarint()
	u.tick = c.varint()
	u.crc = c.u32()
	u.rawLen = c.uvarint()
	u.reason = string(c.bytes())
	u.gap = c.bytes()
	total := uint64(0)
	if n := c.count(8); n > 0 {
		u.baselines = make([]linkLead, n)
		for i := range u.baselines {
			l := &u.baselines[i]
			l.key = string(c.bytes())
			flags := c.u8()
			l.full, l.drop = flags&flagFull != 0, flags&flagForget != 0
			l.prev = c.uvarint()
			size := c.uvarint()
			if size > maxRecord {
				return nil, errMalformed
			}
			l.size = uint32(size)
			l.crc = c.u32()
			total += size
		}
	}
	data := c.uvarint()
	if data > maxRecord {
		return nil, errMalformed
	}
	u.data = uint32(data)
	u.dataCRC = c.u32()
	if err := c.end(); err != nil {
		return nil, err
	}
	if (u.kind != Batch && u.kind != Gap) || u.last.Seq == 0 || span >= u.last.Seq ||
		(span > 0 && u.kind != Gap) || total+data != uint64(body) {
		return nil, errMalformed
	}
	return u, nil
}

func appendIDs(b []byte, ids []ID) []byte {
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = appendID(b, id)
	}
	return b
}

func decodeIDs(b []byte) ([]ID, error) {
	c := &cursor{b: b}
	ids := make([]ID, c.count(9))
	for i := range ids {
		ids[i] = c.id()
	}
	return ids, c.end()
}

// carryLead is one key's whole chain, copied.
type carryLead struct {
	key   string
	head  uint64 // LSN of the newest link
	links []linkLead
}

func (l *carryLead) append(b []byte) []byte {
	b = appendBytes(b, l.key)
	b = binary.AppendUvarint(b, l.head)
	b = binary.AppendUvarint(b, uint64(len(l.links)))
	for _, k := range l.links {
		b = binary.AppendUvarint(b, k.lsn)
		b = binary.AppendUvarint(b, uint64(k.size))
		b = binary.LittleEndian.AppendUint32(b, k.crc)
	}
	return b
}

func decodeCarry(b []byte, body uint32) (*carryLead, error) {
	c := &cursor{b: b}
	l := &carryLead{key: string(c.bytes()), head: c.uvarint()}
	total := uint64(0)
	if n := c.count(6); n > 0 {
		l.links = make([]linkLead, n)
		for i := range l.links {
			k := &l.links[i]
			k.lsn, k.full = c.uvarint(), i == 0
			size := c.uvarint()
			if size > maxRecord {
				return nil, errMalformed
			}
			k.size, k.crc = uint32(size), c.u32()
			total += size
		}
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	if total != uint64(body) {
		return nil, errMalformed
	}
	return l, nil
}

// markLead is what must be known when no batch is left.
type markLead struct {
	last   ID
	epochs []ID // newest seq of each epoch, oldest epoch first
}

const maxEpochs = 64 // remembered; more restarts than that within one outage of the backend are forgotten

func (m *markLead) append(b []byte) []byte {
	return appendIDs(appendID(b, m.last), m.epochs)
}

func decodeMark(b []byte) (*markLead, error) {
	c := &cursor{b: b}
	m := &markLead{last: c.id()}
	if c.bad {
		return nil, errMalformed
	}
	var err error
	m.epochs, err = decodeIDs(c.b)
	return m, err
}
