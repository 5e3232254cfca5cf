package counter

import (
	"encoding/binary"
	"slices"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/frame"
)

// hasHidden reports whether a reading of a family that hides keys has NULL keys.
func hasHidden(lay *layout, fr *frame.Frame) bool {
	if !lay.hides || fr.N == 0 {
		return false
	}
	for _, k := range lay.keys {
		src := sourceOf(lay, fr, k)
		if src == nil || src.Null != nil && slices.Contains(src.Null, true) {
			return true
		}
	}
	return false
}

// collapse makes the keys of a reading unique: rows of one key are summed (gauges
// and labels: the last one holds). Rows whose key we may not see whole are one row
// for each of Family.Sums, its other keys NULL.
func collapse(lay *layout, fr *frame.Frame) *frame.Frame {
	out := &frame.Frame{Family: fr.Family, Database: fr.Database, Since: fr.Since, At: fr.At}
	src := make([]*frame.Column, len(lay.types))
	for c := range src {
		src[c] = sourceOf(lay, fr, c)
		decl := &lay.family.Columns[c]
		out.Columns = append(out.Columns, frame.Column{Name: decl.Name, Kind: decl.Kind, Type: lay.types[c]})
	}
	index := map[string]int{}
	var key []byte
	for i := range fr.N {
		hidden := false
		for _, k := range lay.keys {
			hidden = hidden || lay.hides && (src[k] == nil || src[k].IsNull(i))
		}
		key = key[:0]
		for _, k := range lay.keys {
			if src[k] == nil || src[k].IsNull(i) || hidden && !slices.Contains(lay.sums, k) {
				key = append(key, 0)
				continue
			}
			key = append(key, 1)
			if lay.text(k) {
				key = binary.AppendUvarint(key, uint64(len(src[k].Texts[i])))
				key = append(key, src[k].Texts[i]...)
			} else {
				key = binary.LittleEndian.AppendUint64(key, uint64(src[k].Ints[i]))
			}
		}
		at, seen := index[string(key)]
		if !seen {
			at = out.N
			index[string(key)] = at
			out.N++
		}
		for c := range src {
			kind := out.Columns[c].Kind
			null := src[c] == nil || src[c].IsNull(i) ||
				hidden && (kind == catalog.Reset || kind == catalog.Key && !slices.Contains(lay.sums, c))
			put(&out.Columns[c], at, seen, null, src[c], i)
		}
	}
	return out
}

// put appends a cell, or folds it into the one that is there.
func put(to *frame.Column, at int, seen, null bool, from *frame.Column, i int) {
	if !seen {
		to.Null = append(to.Null, null)
		switch to.Type {
		case catalog.Text:
			to.Texts = append(to.Texts, "")
		case catalog.Float:
			to.Floats = append(to.Floats, 0)
		default:
			to.Ints = append(to.Ints, 0)
		}
	}
	if null {
		return
	}
	to.Null[at] = false
	switch {
	case to.Kind == catalog.Counter:
		to.Ints[at] += max(from.Ints[i], 0)
	case to.Type == catalog.Text:
		to.Texts[at] = from.Texts[i]
	case to.Type == catalog.Float:
		to.Floats[at] = from.Floats[i]
	default:
		to.Ints[at] = from.Ints[i]
	}
}
