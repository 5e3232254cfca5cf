package spool

import "bytes"

// scanner finds the sound records of a segment, whatever stands between them. Its
// memory is one record or a window.
type scanner struct {
	file  File
	size  int64
	nonce uint64
	buf   []byte
	start int64 // offset of buf
}

const (
	window = 256 << 10
	page   = 4 << 10
)

// scan calls visit for each record whose header and lead are sound (the body is for
// visit to check; lead and body are valid during the call), and bad for the bytes
// between. visit returns false for a record that does not belong here: it is bad.
func (sc *scanner) scan(visit func(off int64, h header, lead, body []byte) bool, bad func(from, to int64)) {
	badFrom := int64(-1)
	for off := int64(0); off < sc.size; {
		if h, ok := sc.header(off); ok {
			b := sc.view(off, h.size())
			lead, body := b[headerSize:headerSize+int64(h.lead)], b[headerSize+int64(h.lead):]
			if checksum(lead) == h.leadCRC {
				if badFrom >= 0 {
					bad(badFrom, off)
				}
				if visit(off, h, lead, body) {
					badFrom = -1
					off += h.size()
					continue
				}
				badFrom = -1
			}
		}
		if badFrom < 0 {
			badFrom = off
		}
		off = sc.nextMagic(off + 1)
	}
	if badFrom >= 0 {
		bad(badFrom, sc.size)
	}
}

// header parses a header at off whose record ends within the file.
func (sc *scanner) header(off int64) (header, bool) {
	if off+headerSize > sc.size {
		return header{}, false
	}
	h, ok := parseHeader(sc.view(off, headerSize), sc.nonce, off)
	return h, ok && off+h.size() <= sc.size
}

// nextMagic is the offset of the next magic at or after off, or the size.
func (sc *scanner) nextMagic(off int64) int64 {
	for off+headerSize <= sc.size {
		n := min(window, sc.size-off)
		b := sc.view(off, n)
		if i := bytes.Index(b, magic[:]); i >= 0 {
			return off + int64(i)
		}
		off += n - int64(len(magic)) + 1
	}
	return sc.size
}

// view gives n bytes at off; they are within the file. What cannot be read is zero.
func (sc *scanner) view(off, n int64) []byte {
	if off < sc.start || off+n > sc.start+int64(len(sc.buf)) {
		want := min(max(n, window), sc.size-off)
		if int64(cap(sc.buf)) < want {
			sc.buf = make([]byte, want)
		}
		sc.buf, sc.start = sc.buf[:want], off
		sc.fill(sc.buf, off)
	}
	return sc.buf[off-sc.start:][:n:n]
}

func (sc *scanner) fill(b []byte, off int64) {
	err := readAt(sc.file, b, off)
	if err == nil {
		return
	}
	// A bad sector, or the file ends: what can be read page by page counts.
	for at := 0; at < len(b); at += page {
		part := b[at:min(at+page, len(b))]
		for range readTries {
			n, err := sc.file.ReadAt(part, off+int64(at))
			clear(part[n:])
			if n == len(part) || isEOF(err) {
				break
			}
		}
	}
}
