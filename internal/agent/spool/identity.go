package spool

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"
)

// Identity is a collector's own id, 128 random bits.
type Identity [16]byte

func (i Identity) String() string { return hex.EncodeToString(i[:]) }

const identityFile = "identity"

// LoadOrCreateIdentity reads the collector's id from dir/identity, or makes one and
// keeps it there durably, 0600. created: it is new, because there was none or
// because the file was damaged; the backend then sees a collector it never knew.
func LoadOrCreateIdentity(fsys FS, dir string) (id Identity, created bool, err error) {
	data, err := ReadFile(fsys, filepath.Join(dir, identityFile), 4096)
	switch {
	case err == nil:
		if id, ok := parseIdentity(string(data)); ok {
			return id, false, nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return Identity{}, false, err
	}
	id, err = NewIdentity(fsys, dir)
	return id, true, err
}

// NewIdentity makes a new id and keeps it in place of the old one: the disk turned
// out to be a copy of, or older than, what the backend has seen of the old id.
func NewIdentity(fsys FS, dir string) (Identity, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return Identity{}, fmt.Errorf("make %s: %w", dir, err)
	}
	var id Identity
	rand.Read(id[:])
	return id, WriteFileAtomic(fsys, filepath.Join(dir, identityFile), []byte(formatIdentity(id)))
}

func formatIdentity(id Identity) string {
	return fmt.Sprintf("%s %08x\n", id, crc32.Checksum(id[:], castagnoli))
}

func parseIdentity(s string) (id Identity, ok bool) {
	text, _, _ := strings.Cut(s, " ")
	if n, err := hex.Decode(id[:], []byte(text[:min(len(text), 2*len(id))])); err != nil || n != len(id) {
		return id, false
	}
	return id, s == formatIdentity(id)
}
