package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// minToken is the least length of a token that an operator writes into a file
// himself; ours have 43 characters.
const minToken = 16

// Token is a secret that prints as "***" everywhere: fmt, slog, JSON. Reveal is
// the only way out, easy to search for.
type Token struct{ text string }

// NewToken makes a token of 256 random bits.
func NewToken() Token {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return Token{base64.RawURLEncoding.EncodeToString(raw[:])}
}

// Reveal gives the secret itself.
func (t Token) Reveal() string { return t.text }

// Hash is what may be stored of the token.
func (t Token) Hash() [32]byte { return sha256.Sum256([]byte(t.text)) }

// Equal compares without telling by its time where a difference is.
func (t Token) Equal(given string) bool {
	a, b := t.Hash(), sha256.Sum256([]byte(given))
	return t.text != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String hides the secret.
func (t Token) String() string { return "***" }

// Format hides the secret from every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

// LogValue hides the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText hides the secret.
func (t Token) MarshalText() ([]byte, error) { return []byte("***"), nil }

// LoadToken reads the token in a file, one line. A missing file is made with a new
// token, mode 0600; when two processes do so at once both end up with the same.
func LoadToken(path string) (Token, error) {
	for range 2 {
		text, err := os.ReadFile(path)
		switch {
		case err == nil:
			return parseToken(path, string(text))
		case !errors.Is(err, fs.ErrNotExist):
			return Token{}, fmt.Errorf("read token: %w", err)
		}
		if err := makeToken(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return Token{}, fmt.Errorf("make token file %s: %w", path, err)
		}
	}
	return Token{}, fmt.Errorf("token file %s vanishes as soon as it is made", path)
}

func parseToken(path, text string) (Token, error) {
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Token{}, fmt.Errorf("token file %s: want one line of printable characters without spaces", path)
	case len(text) < minToken:
		return Token{}, fmt.Errorf("token file %s: %d characters, at least %d", path, len(text), minToken)
	}
	return Token{text}, nil
}

// makeToken writes the file whole and durable before it gets its name, and never
// replaces one that is there.
func makeToken(path string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".token-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(NewToken().Reveal() + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
