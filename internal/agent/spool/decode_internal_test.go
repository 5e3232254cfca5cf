package spool

import "testing"

// FuzzDecode: a lead whose CRC is right may still hold anything, if a bug wrote it.
func FuzzDecode(f *testing.F) {
	u := &unitLead{
		kind: Gap, sent: true, last: ID{1 << 60, 9}, first: 3, prev: ID{5, 2}, order: 7, tick: -4, crc: 8, rawLen: 10, reason: "r",
		gap: []byte("gap"), baselines: []linkLead{{key: "k", full: true, size: 3, crc: 1}, {key: "l", prev: 5, size: 2}}, data: 0,
	}
	f.Add(u.append(nil), uint32(5))
	f.Add((&carryLead{key: "k", head: 5, links: []linkLead{{lsn: 4, size: 2}, {lsn: 5, size: 3}}}).append(nil), uint32(5))
	f.Add((&markLead{last: ID{1, 2}, epochs: []ID{{1, 2}, {3, 4}}}).append(nil), uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, body uint32) {
		if u, err := decodeUnit(b, body); err == nil {
			again, err := decodeUnit(u.append(nil), body)
			if err != nil || again.last != u.last || again.first != u.first || len(again.baselines) != len(u.baselines) {
				t.Errorf("%+v became %+v: %v", u, again, err)
			}
		}
		if l, err := decodeCarry(b, body); err == nil {
			if _, err := decodeCarry(l.append(nil), body); err != nil {
				t.Error(err)
			}
		}
		if ids, err := decodeIDs(b); err == nil {
			if again, err := decodeIDs(appendIDs(nil, ids)); err != nil || len(again) != len(ids) {
				t.Error(err)
			}
		}
		_, _ = decodeMark(b)
		if h, ok := parseHeader(b, 1, 2); ok {
			var again [headerSize]byte
			h.put(again[:], 1, 2)
		}
	})
}
