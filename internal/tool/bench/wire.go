package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// jsonBatch is a batch as such APIs have it: a frame's rows as objects. Columns
// that are NULL in a row are left out.
type jsonBatch struct {
	*frame.Batch
	Frames []jsonFrame
}

type jsonFrame struct {
	Family    string
	Since, At int64
	Rows      []map[string]any
}

func toJSON(b *frame.Batch) jsonBatch {
	out := jsonBatch{Batch: b}
	for i := range b.Frames {
		f := &b.Frames[i]
		j := jsonFrame{Family: f.Family, Since: f.Since, At: f.At}
		for r := range f.N {
			values := map[string]any{}
			for k := range f.Columns {
				c := &f.Columns[k]
				switch {
				case c.IsNull(r):
				case c.Type == catalog.Text:
					values[c.Name] = c.Texts[r]
				case c.Type == catalog.Float:
					values[c.Name] = c.Floats[r]
				default:
					values[c.Name] = c.Ints[r]
				}
			}
			j.Rows = append(j.Rows, values)
		}
		out.Frames = append(out.Frames, j)
	}
	return out
}

// form is one way to write and read a batch.
type form struct {
	name  string
	write func(i int) []byte
	read  func(data []byte) error
}

// wire compares the wire form of what the collector pushed with JSON + zstd of the
// same batches.
func (b *bench) wire(ctx context.Context) error {
	var batches []*frame.Batch
	rows := 0
	for _, body := range b.recorded {
		for r := bufio.NewReader(bytes.NewReader(body)); ; {
			e, err := frame.ReadEnvelope(r)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if e.Kind != frame.KindBatch {
				continue
			}
			batch, err := e.Batch()
			if err != nil {
				return err
			}
			batches = append(batches, batch)
			for i := range batch.Frames {
				rows += batch.Frames[i].N
			}
		}
	}
	if len(batches) == 0 {
		return errors.New("no batch was recorded")
	}
	objects := make([]jsonBatch, len(batches))
	for i, batch := range batches {
		objects[i] = toJSON(batch)
	}
	forms, err := wireForms(batches, objects)
	if err != nil {
		return err
	}
	b.log.Info("comparing wire forms", "batches", len(batches), "rows", rows)
	size, write, read := make([]float64, len(forms)), make([]float64, len(forms)), make([]float64, len(forms))
	lanes := make([]map[catalog.Lane]int, len(forms))
	for k, f := range forms {
		data := make([][]byte, len(batches))
		total := 0
		for i := range batches {
			data[i] = f.write(i)
			total += len(data[i])
			if lanes[k] == nil {
				lanes[k] = map[catalog.Lane]int{}
			}
			lanes[k][batches[i].Lane] += len(data[i])
		}
		size[k] = float64(total) / float64(len(batches))
		write[k], err = perBatch(ctx, len(batches), func(i int) error { f.write(i); return nil })
		if err == nil {
			read[k], err = perBatch(ctx, len(batches), func(i int) error { return f.read(data[i]) })
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	note := fmt.Sprintf("%d batches of %.1f rows", len(batches), float64(rows)/float64(len(batches)))
	for k := 1; k < len(forms); k++ {
		of := forms[k].name + " + zstd"
		bytesRow := row{What: "wire bytes of a batch", Ours: size[0], Reference: size[k], Of: of, Unit: "B",
			Note: fmt.Sprintf("%s; slow rounds %s of it, fast rounds %s", note, share(lanes[0], lanes[k], catalog.Slow), share(lanes[0], lanes[k], catalog.Fast))}
		cpuRow := row{What: "wire CPU of a batch, written and read", Ours: write[0] + read[0], Reference: write[k] + read[k], Of: of, Unit: "µs",
			Note: fmt.Sprintf("written %s µs beside %s, read %s beside %s", number(write[0]), number(write[k]), number(read[0]), number(read[k]))}
		b.report.judge(bytesRow, true, 0.5)
		b.report.judge(cpuRow, true, 0.2)
	}
	return nil
}

func share(ours, theirs map[catalog.Lane]int, lane catalog.Lane) string {
	return number(float64(ours[lane])/float64(max(1, theirs[lane]))) + "x"
}

func wireForms(batches []*frame.Batch, objects []jsonBatch) ([]form, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	marshal := func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			panic("BUG: a batch as JSON: " + err.Error())
		}
		return enc.EncodeAll(raw, nil)
	}
	unmarshal := func(data []byte, v any) error {
		raw, err := dec.DecodeAll(data, nil)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, v)
	}
	return []form{
		{"wire", func(i int) []byte { return frame.AppendEnvelope(nil, frame.NewEnvelope(batches[i])) }, func(data []byte) error {
			e, err := frame.ReadEnvelope(bufio.NewReader(bytes.NewReader(data)))
			if err != nil {
				return err
			}
			_, err = e.Batch()
			return err
		}},
		{"JSON rows", func(i int) []byte { return marshal(objects[i]) }, func(data []byte) error { return unmarshal(data, new(jsonBatch)) }},
		{"JSON columns", func(i int) []byte { return marshal(batches[i]) }, func(data []byte) error { return unmarshal(data, new(frame.Batch)) }},
	}, nil
}

// perBatch gives the CPU time that f takes for a batch, in µs, garbage collection
// included, over passes of all batches for at least a second.
func perBatch(ctx context.Context, n int, f func(i int) error) (float64, error) {
	runtime.GC()
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	done := 0
	for start := time.Now(); time.Since(start) < time.Second; {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		for i := range n {
			if err := f(i); err != nil {
				return 0, err
			}
		}
		done += n
	}
	after, err := ownCPU()
	return float64((after - before).Microseconds()) / float64(done), err
}

func ownCPU() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}
