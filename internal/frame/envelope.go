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
	Data   []byte // the raw bytes, compressed; of a batch without what the envelope says itself
}

const (
	envelopeMagic = "PGAE"
	maxEnvelope   = MaxRaw + 64<<10 // bytes of header and data, which may be uncompressed
	// MaxRaw bounds the raw bytes of one batch.
	MaxRaw = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC32C that identifies raw bytes.
func Checksum(raw []byte) uint32 { return crc32.Checksum(raw, castagnoli) }

// Bits of an envelope's head, beside its kind in the lowest two.
const (
	envelopeChained = 4 << iota // prev is the id before FirstSeq, of the same epoch
	envelopePrev                // prev is another one; neither: there is none
	envelopeRange               // FirstSeq is not ID.Seq
	envelopeReason
)

// AppendEnvelope appends the wire form of e: magic, length, header, data, CRC32C over
// all before it. The length is that of header and data.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	start := len(dst)
	chained := e.Prev == ID{e.ID.Collector, e.ID.Epoch, e.FirstSeq - 1} && e.FirstSeq > 1
	other := !chained && e.Prev != ID{}
	var buf [128]byte
	h := append(buf[:0], byte(e.Kind)&3|flag(chained, envelopeChained)|flag(other, envelopePrev)|flag(e.FirstSeq != e.ID.Seq, envelopeRange)|flag(e.Reason != "", envelopeReason))
	h = appendID(h, e.ID)
	if e.FirstSeq != e.ID.Seq {
		h = binary.AppendUvarint(h, e.ID.Seq-e.FirstSeq)
	}
	if other {
		h = appendID(h, e.Prev)
	}
	h = binary.AppendVarint(h, e.Tick)
	h = binary.LittleEndian.AppendUint32(h, e.CRC)
	h = binary.AppendUvarint(h, uint64(e.RawLen))
	if e.Reason != "" {
		reason := clean(e.Reason)
		h = append(binary.AppendUvarint(h, uint64(len(reason))), reason...)
	}
	dst = append(dst, envelopeMagic...)
	dst = binary.AppendUvarint(dst, uint64(len(h)+len(e.Data)))
	dst = append(dst, h...)
	dst = append(dst, e.Data...)
	return binary.LittleEndian.AppendUint32(dst, Checksum(dst[start:]))
}

// ReadEnvelope reads one envelope. io.EOF means a clean end before it; anything
// cut or damaged is ErrMalformed.
func ReadEnvelope(r *bufio.Reader) (*Envelope, error) {
	head := make([]byte, len(envelopeMagic), len(envelopeMagic)+binary.MaxVarintLen32)
	if n, err := io.ReadFull(r, head); n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	} else if err != nil {
		return nil, cut(err)
	}
	if string(head) != envelopeMagic {
		return nil, fmt.Errorf("%w: no envelope here (magic %q)", ErrMalformed, head)
	}
	for len(head) == len(envelopeMagic) || head[len(head)-1] >= 0x80 {
		x, err := r.ReadByte()
		if err != nil {
			return nil, cut(err)
		}
		if len(head) == cap(head) {
			return nil, fmt.Errorf("%w: an envelope without a length", ErrMalformed)
		}
		head = append(head, x)
	}
	size, _ := binary.Uvarint(head[len(envelopeMagic):])
	if size > maxEnvelope {
		return nil, fmt.Errorf("%w: %d bytes of data, at most %d", ErrMalformed, size, maxEnvelope)
	}
	body, err := readBody(r, int(size)+4)
	if err != nil {
		return nil, cut(err)
	}
	sum := binary.LittleEndian.Uint32(body[size:])
	body = body[:size:size]
	if crc32.Update(Checksum(head), castagnoli, body) != sum {
		return nil, fmt.Errorf("%w: envelope checksum differs", ErrMalformed)
	}
	return parseEnvelope(body)
}

// readBody reads n bytes, n being not trusted: what is large grows with what really
// arrives.
func readBody(r io.Reader, n int) ([]byte, error) {
	if n <= 64<<10 {
		body := make([]byte, n)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(body) != n {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

func parseEnvelope(body []byte) (*Envelope, error) {
	d := &decoder{b: body}
	head := d.byte()
	e := &Envelope{Kind: EnvelopeKind(head & 3), ID: d.id()}
	e.FirstSeq = e.ID.Seq
	if head&envelopeRange != 0 {
		e.FirstSeq -= d.uvarint()
	}
	switch head & (envelopeChained | envelopePrev) {
	case envelopeChained:
		e.Prev = ID{e.ID.Collector, e.ID.Epoch, e.FirstSeq - 1}
	case envelopePrev:
		e.Prev = d.id()
	case envelopeChained | envelopePrev:
		d.fail("an envelope with two ids before it")
	}
	e.Tick = d.varint()
	if len(d.b) < 4 {
		d.fail("truncated header")
	} else {
		e.CRC, d.b = binary.LittleEndian.Uint32(d.b), d.b[4:]
	}
	e.RawLen = int(min(d.uvarint(), MaxRaw+1))
	if head&envelopeReason != 0 {
		e.Reason = d.literal("reason", d.uvarint())
	}
	e.Data = d.b
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

// Data that zstd would not shorten, as those of a small batch, are kept as they are,
// behind a byte that no zstd frame begins with.
const (
	stored      = 0
	minCompress = 128
)

// Compress compresses raw bytes for an envelope.
func Compress(raw []byte) []byte { return compress(nil, raw) }

// compress gives plain as it is and rest compressed.
func compress(plain, rest []byte) []byte {
	dst := append(make([]byte, 0, len(plain)+len(rest)+1), plain...)
	if len(rest) >= minCompress {
		if data := compressor().EncodeAll(rest, dst); len(data) <= len(plain)+len(rest) {
			return data
		}
	}
	return append(append(dst, stored), rest...)
}

// CompressBatch gives the data of an envelope for the raw bytes of a batch: the
// format's version, then what no compression shortens, then the rest compressed.
// What the envelope says itself is left out.
func CompressBatch(raw []byte) []byte {
	d := &decoder{b: raw}
	d.head(&Batch{})
	at := len(raw) - len(d.b)
	d.begin()
	return compress(append([]byte{formatVersion}, raw[at:len(raw)-len(d.b)]...), d.b)
}

// Raw gives the raw bytes. It checks length and CRC.
func (e *Envelope) Raw() ([]byte, error) {
	raw := make([]byte, 0, min(e.RawLen, 16*len(e.Data)+4096))
	data := e.Data
	if e.Kind == KindBatch {
		d := &decoder{b: data}
		d.version()
		d.begin()
		if d.err != nil {
			return nil, d.err
		}
		raw = appendHead(raw, e.ID, e.Prev, e.Tick)
		raw = append(raw, data[1:len(data)-len(d.b)]...)
		data = d.b
	}
	if len(data) > 0 && data[0] == stored {
		raw = append(raw, data[1:]...)
	} else {
		var err error
		if raw, err = decompressor().DecodeAll(data, raw); err != nil {
			return nil, fmt.Errorf("%w: zstd: %w", ErrMalformed, err)
		}
	}
	if len(raw) != e.RawLen || Checksum(raw) != e.CRC {
		return nil, fmt.Errorf("%w: raw bytes differ from length or checksum", ErrMalformed)
	}
	return raw, nil
}

// NewEnvelope wraps a batch.
func NewEnvelope(b *Batch) *Envelope {
	e := &Envelope{Kind: KindBatch, ID: b.ID, Prev: b.Prev, FirstSeq: b.ID.Seq, Tick: b.Tick}
	buf := rawBuffers.Get().(*[]byte)
	raw := AppendBatch((*buf)[:0], b)
	e.CRC, e.RawLen, e.Data = Checksum(raw), len(raw), CompressBatch(raw)
	if cap(raw) <= maxRawBuffer {
		*buf = raw
		rawBuffers.Put(buf)
	}
	return e
}

// rawBuffers hold raw bytes while they are compressed; a huge one is not kept.
var rawBuffers = sync.Pool{New: func() any { return new([]byte) }}

const maxRawBuffer = 256 << 10

// Batch decodes the envelope's batch. That it is the one named outside is so by its
// checksum, which covers both.
func (e *Envelope) Batch() (*Batch, error) {
	raw, err := e.Raw()
	if err != nil {
		return nil, err
	}
	return DecodeBatch(raw)
}
