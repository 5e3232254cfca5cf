package frame_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// jsonBatch is what the same batch is as JSON: a frame has its rows as objects, as
// such APIs have them. Columns that are NULL in a row are left out.
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
		fr := &b.Frames[i]
		j := jsonFrame{Family: fr.Family, Since: fr.Since, At: fr.At}
		for r := range fr.N {
			row := map[string]any{}
			for k := range fr.Columns {
				c := &fr.Columns[k]
				switch {
				case c.IsNull(r):
				case c.Type == catalog.Text:
					row[c.Name] = c.Texts[r]
				case c.Type == catalog.Float:
					row[c.Name] = c.Floats[r]
				default:
					row[c.Name] = c.Ints[r]
				}
			}
			j.Rows = append(j.Rows, row)
		}
		out.Frames = append(out.Frames, j)
	}
	return out
}

var zstdJSON, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
var unzstdJSON, _ = zstd.NewReader(nil)

// TestSize: the wire form takes at most half of JSON + zstd, of slow and fast rounds.
func TestSize(t *testing.T) {
	for name, b := range map[string]*frame.Batch{"120 statements": sampleBatch(120, 3), "1,000 statements": sampleBatch(1000, 3), "activity": sampleActivity(3)} {
		raw, err := json.Marshal(toJSON(b))
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := len(frame.AppendEnvelope(nil, frame.NewEnvelope(b))), len(zstdJSON.EncodeAll(raw, nil))
		if 2*ours > theirs {
			t.Errorf("%s: %d bytes, JSON + zstd %d", name, ours, theirs)
		}
	}
}

// BenchmarkWire compares the wire form with JSON + zstd of the same batches, once
// with columns as arrays, which is the best that JSON can do, once with rows as
// objects, which is what such APIs send. bytes are those of one batch.
func BenchmarkWire(b *testing.B) {
	for _, batch := range []struct {
		name string
		*frame.Batch
	}{{"statements=120", sampleBatch(120, 3)}, {"statements=1000", sampleBatch(1000, 3)}, {"activity", sampleActivity(3)}} {
		form := func(name string, write func() []byte, read func([]byte) error) {
			data := write()
			b.Run(fmt.Sprintf("%s/%s/write", batch.name, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					data = write()
				}
				b.ReportMetric(float64(len(data)), "bytes")
			})
			b.Run(fmt.Sprintf("%s/%s/read", batch.name, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := read(data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		form("wire", func() []byte { return frame.AppendEnvelope(nil, frame.NewEnvelope(batch.Batch)) }, func(data []byte) error {
			e, err := frame.ReadEnvelope(bufio.NewReader(bytes.NewReader(data)))
			if err != nil {
				return err
			}
			_, err = e.Batch()
			return err
		})
		marshal := func(v any) func() []byte {
			return func() []byte {
				raw, err := json.Marshal(v)
				if err != nil {
					b.Fatal(err)
				}
				return zstdJSON.EncodeAll(raw, nil)
			}
		}
		unmarshal := func(v func() any) func([]byte) error {
			return func(data []byte) error {
				raw, err := unzstdJSON.DecodeAll(data, nil)
				if err != nil {
					return err
				}
				return json.Unmarshal(raw, v())
			}
		}
		form("json-columns", marshal(batch.Batch), unmarshal(func() any { return new(frame.Batch) }))
		form("json-rows", marshal(toJSON(batch.Batch)), unmarshal(func() any { return new(jsonBatch) }))
	}
}
