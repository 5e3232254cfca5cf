package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// EnvelopeKind says what an envelope carries.
type EnvelopeKind uint8

const (
	// KindBatch carries one encoded Batch.
	KindBatch EnvelopeKind = 1
	// KindGap carries a Gap: it claims the same id as the batch whose place it takes.
	KindGap EnvelopeKind = 2
)

// Envelope is a batch or a gap as it lies in the spool and travels: encoded and
// compressed once. A push body is a sequence of envelopes, nothing else.
type Envelope struct {
	Kind EnvelopeKind
	ID   ID
	Prev ID
	// FirstSeq: a gap made of neighbours stands for the ids FirstSeq … ID.Seq of
	// ID.Epoch; else FirstSeq == ID.Seq.
	FirstSeq uint64
	// Tick is the batch's planned tick (for a gap its oldest), microseconds since
	// the Unix epoch.
	Tick   int64
	CRC    uint32 // CRC32C of the raw (uncompressed) bytes; part of the batch's identity
	RawLen int
	Reason string // why a gap is one: spool_full, poison, clock, corrupt, retention
	Data   []byte // zstd of the raw bytes
}

const (
	envelopeMagic   = "PGAE"
	maxEnvelopeData = 64 << 20
	// MaxRaw bounds the raw bytes of one batch.
	MaxRaw = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC32C that identifies raw bytes.
func Checksum(raw []byte) uint32 { return crc32.Checksum(raw, castagnoli) }

// AppendEnvelope appends the wire form of e: magic, header length, header, data
// length, data, CRC32C over all before it.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	start := len(dst)
	var h []byte
	h = append(h, byte(e.Kind))
	h = appendID(h, e.ID)
	h = appendID(h, e.Prev)
	h = binary.AppendUvarint(h, e.FirstSeq)
	h = binary.AppendVarint(h, e.Tick)
	h = binary.LittleEndian.AppendUint32(h, e.CRC)
	h = binary.AppendUvarint(h, uint64(e.RawLen))
	h = appendString(h, e.Reason)
	dst = append(dst, envelopeMagic...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(h)))
	dst = append(dst, h...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(e.Data)))
	dst = append(dst, e.Data...)
	return binary.LittleEndian.AppendUint32(dst, Checksum(dst[start:]))
}

// ReadEnvelope reads one envelope. io.EOF means a clean end before it; anything
// cut or damaged is ErrMalformed.
func ReadEnvelope(r *bufio.Reader) (*Envelope, error) {
	head := make([]byte, len(envelopeMagic)+2)
	if n, err := io.ReadFull(r, head); n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, cut(err)
	}
	if string(head[:len(envelopeMagic)]) != envelopeMagic {
		return nil, fmt.Errorf("%w: no envelope here (magic %q)", ErrMalformed, head[:len(envelopeMagic)])
	}
	h := make([]byte, int(binary.LittleEndian.Uint16(head[len(envelopeMagic):]))+4)
	if _, err := io.ReadFull(r, h); err != nil {
		return nil, cut(err)
	}
	size := binary.LittleEndian.Uint32(h[len(h)-4:])
	if size > maxEnvelopeData {
		return nil, fmt.Errorf("%w: %d bytes of data, at most %d", ErrMalformed, size, maxEnvelopeData)
	}
	// Not trusted before the CRC: grow with what really arrives.
	data, err := io.ReadAll(io.LimitReader(r, int64(size)+4))
	if err != nil {
		return nil, cut(err)
	}
	if len(data) != int(size)+4 {
		return nil, cut(io.ErrUnexpectedEOF)
	}
	sum := crc32.Update(crc32.Update(Checksum(head), castagnoli, h), castagnoli, data[:size])
	if sum != binary.LittleEndian.Uint32(data[size:]) {
		return nil, fmt.Errorf("%w: envelope checksum differs", ErrMalformed)
	}
	d := &decoder{b: h[:len(h)-4]}
	e := &Envelope{Kind: EnvelopeKind(d.byte()), ID: d.id(), Prev: d.id(), FirstSeq: d.uvarint(), Tick: d.varint()}
	if len(d.b) < 4 {
		d.fail("truncated header")
	} else {
		e.CRC, d.b = binary.LittleEndian.Uint32(d.b), d.b[4:]
	}
	e.RawLen = int(min(d.uvarint(), MaxRaw+1))
	e.Reason = d.string("reason")
	e.Data = data[:size:size]
	switch {
	case d.err != nil:
		return nil, d.err
	case e.Kind != KindBatch && e.Kind != KindGap:
		return nil, fmt.Errorf("%w: envelope kind %d", ErrMalformed, e.Kind)
	case e.RawLen > MaxRaw:
		return nil, fmt.Errorf("%w: more than %d raw bytes", ErrMalformed, MaxRaw)
	case e.ID.Seq == 0 || e.FirstSeq == 0 || e.FirstSeq > e.ID.Seq:
		return nil, fmt.Errorf("%w: ids %d to %d", ErrMalformed, e.FirstSeq, e.ID.Seq)
	case e.Kind == KindBatch && e.FirstSeq != e.ID.Seq:
		return nil, fmt.Errorf("%w: a batch with a range of ids", ErrMalformed)
	}
	return e, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: truncated envelope", ErrMalformed)
	}
	return fmt.Errorf("read envelope: %w", err)
}

// Compressor and decompressor are shared: they are safe for concurrent use, and a
// small window keeps a collector's memory small.
var compressor = sync.OnceValue(func() *zstd.Encoder {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(256<<10), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("BUG: zstd encoder: " + err.Error())
	}
	return w
})

var decompressor = sync.OnceValue(func() *zstd.Decoder {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic("BUG: zstd decoder: " + err.Error())
	}
	return r
})

// Compress compresses raw bytes for an envelope.
func Compress(raw []byte) []byte { return compressor().EncodeAll(raw, nil) }

// Raw decompresses the envelope's data and checks length and CRC.
func (e *Envelope) Raw() ([]byte, error) {
	raw, err := decompressor().DecodeAll(e.Data, make([]byte, 0, min(e.RawLen, 16*len(e.Data)+4096)))
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrMalformed, err)
	}
	if len(raw) != e.RawLen || Checksum(raw) != e.CRC {
		return nil, fmt.Errorf("%w: raw bytes differ from length or checksum", ErrMalformed)
	}
	return raw, nil
}

// NewEnvelope wraps a batch.
func NewEnvelope(b *Batch) *Envelope {
	buf := rawBuffers.Get().(*[]byte)
	raw := AppendBatch((*buf)[:0], b)
	e := &Envelope{Kind: KindBatch, ID: b.ID, Prev: b.Prev, FirstSeq: b.ID.Seq, Tick: b.Tick, CRC: Checksum(raw), RawLen: len(raw), Data: Compress(raw)}
	if cap(raw) <= maxRawBuffer {
		*buf = raw
		rawBuffers.Put(buf)
	}
	return e
}

// rawBuffers hold raw bytes while they are compressed; a huge one is not kept.
var rawBuffers = sync.Pool{New: func() any { return new([]byte) }}

const maxRawBuffer = 256 << 10

// Batch decodes the envelope's batch and checks that it is the one named outside.
func (e *Envelope) Batch() (*Batch, error) {
	raw, err := e.Raw()
	if err != nil {
		return nil, err
	}
	b, err := DecodeBatch(raw)
	if err != nil {
		return nil, err
	}
	if b.ID != e.ID || b.Prev != e.Prev || b.Tick != e.Tick {
		return nil, fmt.Errorf("%w: the batch inside is another one (%s)", ErrMalformed, b.ID)
	}
	return b, nil
}
