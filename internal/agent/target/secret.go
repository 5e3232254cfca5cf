package target

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Secret is a string that prints as "***" everywhere: fmt, slog, JSON, TOML.
type Secret string

const masked = "***"

// Reveal gives the string itself.
func (s Secret) Reveal() string { return string(s) }

// String gives "***", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// Format prints "***" for every verb and flag.
func (s Secret) Format(f fmt.State, verb rune) { _, _ = f.Write([]byte(s.String())) }

// GoString is what %#v prints.
func (s Secret) GoString() string { return s.String() }

// LogValue is what slog prints.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what encoders write.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MaskURL is a URL that may be shown: scheme, host and path. What can't be told from
// a password written without its %XX is left out.
func MaskURL(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return "***"
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		if strings.Contains(rest[i:], "@") {
			return scheme + "://***"
		}
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "***@" + rest[i+1:]
	} else if _, err := url.Parse(raw); err != nil { // user:password, and the host forgotten
		return scheme + "://***"
	}
	return scheme + "://" + rest
}
