package frame_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// bits compares floats by their bits: a NaN is itself, 0 is not -0.
var bits = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := genBatch.Draw(t, "batch")
		raw := frame.AppendBatch([]byte("before"), b)
		got, err := frame.DecodeBatch(raw[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, got, bits, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if again := frame.AppendBatch(nil, got); !bytes.Equal(again, raw[len("before"):]) {
			t.Fatal("encoded again it is not the same bytes")
		}
	})
}

func TestGapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &frame.Gap{Batches: rapid.SliceOfN(genBatch, 0, 3).Draw(t, "batches")}
		got, err := frame.DecodeGap(frame.AppendGap(nil, g))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g, got, bits, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []*frame.Envelope
		var body []byte
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			e := frame.NewEnvelope(genBatch.Draw(t, "batch"))
			if rapid.Bool().Draw(t, "gap") {
				raw := frame.AppendGap(nil, &frame.Gap{Batches: rapid.SliceOfN(genBatch, 0, 2).Draw(t, "batches")})
				e.Kind, e.Reason, e.FirstSeq = frame.KindGap, genText.Draw(t, "reason"), rapid.Uint64Range(1, e.ID.Seq).Draw(t, "first")
				e.CRC, e.RawLen, e.Data = frame.Checksum(raw), len(raw), frame.Compress(raw)
			}
			want, body = append(want, e), frame.AppendEnvelope(body, e)
		}
		r := bufio.NewReader(bytes.NewReader(body))
		for i, e := range want {
			got, err := frame.ReadEnvelope(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("envelope %d: %s", i, diff)
			}
			if e.Kind == frame.KindBatch {
				_, err = got.Batch()
			} else {
				_, err = got.Gap()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := frame.ReadEnvelope(r); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
	})
}

// readAll reads a stream of envelopes to its end, and what is in them.
func readAll(body []byte) (n int, err error) {
	r := bufio.NewReaderSize(bytes.NewReader(body), 64)
	for {
		e, err := frame.ReadEnvelope(r)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if e.Kind == frame.KindBatch {
			_, err = e.Batch()
		} else {
			_, err = e.Gap()
		}
		if err != nil {
			return n, err
		}
		n++
	}
}

// TestDamagedStream: a stream cut at any byte, or with any bit flipped, is
// malformed; nothing that stands before the damage is lost, nothing panics.
func TestDamagedStream(t *testing.T) {
	first := frame.AppendEnvelope(nil, frame.NewEnvelope(sampleActivity(1)))
	gap := frame.NewEnvelope(sampleBatch(3, 2))
	raw := frame.AppendGap(nil, frame.NewGap(sampleBatch(3, 2)))
	gap.Kind, gap.Reason, gap.CRC, gap.RawLen, gap.Data = frame.KindGap, "spool_full", frame.Checksum(raw), len(raw), frame.Compress(raw)
	body := frame.AppendEnvelope(append([]byte(nil), first...), gap)
	if n, err := readAll(body); n != 2 || err != nil {
		t.Fatalf("undamaged: %d, %v", n, err)
	}
	check := func(what string, at int, damaged []byte) {
		t.Helper()
		n, err := readAll(damaged)
		if at == 0 && len(damaged) == 0 || len(damaged) == len(first) {
			if err != nil {
				t.Errorf("%s at %d is a clean end: %v", what, at, err)
			}
			return
		}
		if !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s at %d of %d: %v", what, at, len(body), err)
		}
		if whole := at >= len(first); whole != (n == 1) {
			t.Errorf("%s at %d: %d envelopes read", what, at, n)
		}
	}
	for at := range body {
		check("cut", at, body[:at])
		for bit := range 8 {
			damaged := append([]byte(nil), body...)
			damaged[at] ^= 1 << bit
			check("bit flipped", at, damaged)
		}
	}
}

// TestDamagedRaw: behind a right checksum anything may lie; it is malformed or it
// is another batch, and never a panic.
func TestDamagedRaw(t *testing.T) {
	for name, raw := range map[string][]byte{"batch": frame.AppendBatch(nil, sampleBatch(5, 1)), "activity": frame.AppendBatch(nil, sampleActivity(1)), "gap": frame.AppendGap(nil, frame.NewGap(sampleBatch(5, 1)))} {
		decode := func(b []byte) error {
			_, err := frame.DecodeBatch(b)
			if name == "gap" {
				_, err = frame.DecodeGap(b)
			}
			return err
		}
		if err := decode(raw); err != nil {
			t.Fatal(err)
		}
		for at := range raw {
			if err := decode(raw[:at]); !errors.Is(err, frame.ErrMalformed) {
				t.Errorf("%s cut at %d: %v", name, at, err)
			}
			for bit := range 8 {
				damaged := append([]byte(nil), raw...)
				damaged[at] ^= 1 << bit
				if err := decode(damaged); err != nil && !errors.Is(err, frame.ErrMalformed) {
					t.Errorf("%s, bit %d of byte %d: %v", name, bit, at, err)
				}
			}
		}
		if err := decode(append(append([]byte(nil), raw...), 0)); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
}

// TestWrongInside: an envelope whose batch is not the one named outside, or whose
// data are not what length and checksum say.
func TestWrongInside(t *testing.T) {
	e := frame.NewEnvelope(sampleActivity(1))
	for name, change := range map[string]func(*frame.Envelope){
		"id":       func(e *frame.Envelope) { e.ID.Seq++ },
		"prev":     func(e *frame.Envelope) { e.Prev.Epoch++ },
		"tick":     func(e *frame.Envelope) { e.Tick++ },
		"checksum": func(e *frame.Envelope) { e.CRC++ },
		"length":   func(e *frame.Envelope) { e.RawLen++ },
		"data":     func(e *frame.Envelope) { e.Data = e.Data[:len(e.Data)-1] },
		"bomb":     func(e *frame.Envelope) { e.Data = frame.Compress(make([]byte, 1<<20)) },
	} {
		other := *e
		change(&other)
		if _, err := other.Batch(); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimits: few bytes must not ask for much memory.
func TestLimits(t *testing.T) {
	wide := &frame.Batch{Lane: catalog.Slow}
	for range 20 {
		f := frame.Frame{Family: "x", N: frame.MaxRows}
		zero := make([]int64, f.N)
		f.Columns = append(f.Columns, frame.Column{Name: "a", Kind: catalog.Key, Type: catalog.Int, Ints: zero})
		wide.Frames = append(wide.Frames, f)
	}
	raw := frame.AppendBatch(nil, wide)
	if len(raw) > 1000 {
		t.Fatalf("%d bytes", len(raw))
	}
	if _, err := frame.DecodeBatch(raw); !errors.Is(err, frame.ErrMalformed) || !strings.Contains(err.Error(), "cells") {
		t.Errorf("a batch of 20 M cells in %d bytes: %v", len(raw), err)
	}
	one := &frame.Batch{Lane: catalog.Slow, Frames: wide.Frames[:2]}
	if _, err := frame.DecodeGap(frame.AppendGap(nil, &frame.Gap{Batches: []*frame.Batch{one, one, one, one, one, one}})); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("a gap of 12 M cells: %v", err)
	}
	// So is one of a text that comes again and again.
	long := strings.Repeat("long", frame.MaxText/4)
	text := &frame.Batch{Lane: catalog.Slow, Frames: []frame.Frame{{Family: "x", N: 100, Columns: []frame.Column{{Name: "a", Kind: catalog.Key, Type: catalog.Text, Texts: slices.Repeat([]string{long}, 100)}}}}}
	raw = frame.AppendBatch(nil, text)
	if _, err := frame.DecodeBatch(raw); !errors.Is(err, frame.ErrMalformed) || !strings.Contains(err.Error(), "bytes of text") {
		t.Errorf("a batch of 100 MB of text in %d bytes: %v", len(raw), err)
	}
	text.Frames[0].N, text.Frames[0].Columns[0].Texts = 40, text.Frames[0].Columns[0].Texts[:40]
	if _, err := frame.DecodeGap(frame.AppendGap(nil, &frame.Gap{Batches: []*frame.Batch{text, text}})); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("a gap of 80 MB of text: %v", err)
	}
	// The version of the format is the first thing to be checked.
	other := append([]byte{99}, raw[1:]...)
	if _, err := frame.DecodeBatch(other); err == nil || !strings.Contains(err.Error(), "format version 99") {
		t.Errorf("another format: %v", err)
	}
	e := frame.NewEnvelope(sampleActivity(1))
	e.Data[0] = 98
	if _, err := e.Batch(); err == nil || !strings.Contains(err.Error(), "format version 98") {
		t.Errorf("another format in an envelope: %v", err)
	}
}

// TestPromisedRows: memory is given for rows that the bytes can hold, not for those
// that a frame promises.
func TestPromisedRows(t *testing.T) {
	f := frame.Frame{Family: "x", N: frame.MaxRows}
	sevens := slices.Repeat([]int64{7}, f.N)
	for i := range 8 {
		f.Columns = append(f.Columns, frame.Column{Name: string(rune('a' + i)), Kind: catalog.Key, Type: catalog.Int, Ints: sevens})
	}
	raw := frame.AppendFrame(nil, &f)
	if _, _, err := frame.DecodeFrame(raw); err != nil {
		t.Fatal(err)
	}
	const constant = "\x22\x22\x22\x22" // the forms of eight columns
	for _, form := range []string{"\x33", "\x44", "\x55", "\x66", "\x77"} {
		promise := bytes.Replace(raw, []byte(constant), []byte(strings.Repeat(form, 4)), 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := frame.DecodeFrame(promise)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, frame.ErrMalformed) || bytes.Equal(promise, raw) {
			t.Errorf("form %x: %v", form, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("form %x: %d bytes of memory for %d", form, n, len(promise))
		}
	}
	// Nor may there be more values than columns take.
	one := frame.AppendFrame(nil, &frame.Frame{Family: "x", N: 1, Columns: []frame.Column{{Name: "a", Kind: catalog.Key, Type: catalog.Int, Ints: []int64{7}}}})
	more := slices.Concat([]byte{one[0] + 1}, make([]byte, 8), one[1:])
	if _, _, err := frame.DecodeFrame(more); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("a value that belongs nowhere: %v", err)
	}
}

// TestHostileText: whatever a watched database calls its things, the batch can be
// decoded.
func TestHostileText(t *testing.T) {
	for _, text := range []string{"a\x00b", "\xff\xfe", "ok\xc3", strings.Repeat("ä", frame.MaxText)} {
		b := sampleActivity(1)
		b.Frames[0].Columns[0].Texts[0] = text
		b.Outcomes[0].Detail, b.Instance = text, text
		got, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
		if err != nil {
			t.Errorf("%.10q: %v", text, err)
			continue
		}
		if s := got.Frames[0].Columns[0].Texts[0]; !utf8.ValidString(s) || strings.Contains(s, "\x00") || s == "" {
			t.Errorf("%.10q became %.10q", text, s)
		}
	}
}

func TestParseCollectorID(t *testing.T) {
	id := frame.CollectorID{0xab, 1, 15: 0xff}
	if got, err := frame.ParseCollectorID(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "ab", strings.Repeat("g", 32), strings.Repeat("0", 33), strings.Repeat("0", 34)} {
		if _, err := frame.ParseCollectorID(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func fuzzSeeds(f *testing.F) {
	for _, b := range []*frame.Batch{sampleActivity(1), sampleBatch(2, 1), {}, {Lane: catalog.Fast, Tick: 1}} {
		f.Add(frame.AppendBatch(nil, b))
		f.Add(frame.AppendGap(nil, frame.NewGap(b)))
		f.Add(frame.AppendEnvelope(nil, frame.NewEnvelope(b)))
	}
}

func FuzzDecodeBatch(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := frame.DecodeBatch(data)
		if err != nil {
			if !errors.Is(err, frame.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := frame.DecodeBatch(frame.AppendBatch(nil, b))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again, bits, cmpopts.EquateEmpty()); diff != "" && len(diff) < 1<<20 {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeGap(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := frame.DecodeGap(data)
		if err != nil {
			if !errors.Is(err, frame.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if _, err := frame.DecodeGap(frame.AppendGap(nil, g)); err != nil {
			t.Fatal(err)
		}
		frame.MergeGaps(g, g)
	})
}

func FuzzReadEnvelope(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := readAll(data); err != nil && !errors.Is(err, frame.ErrMalformed) {
			t.Fatal(err)
		}
		// Behind the checksum, which a fuzzer does not hit.
		for _, kind := range []frame.EnvelopeKind{frame.KindBatch, frame.KindGap} {
			e := frame.Envelope{Kind: kind, ID: frame.ID{Seq: 1}, FirstSeq: 1, RawLen: len(data), Data: data}
			if _, err := e.Raw(); err != nil && !errors.Is(err, frame.ErrMalformed) {
				t.Fatal(err)
			}
		}
	})
}
