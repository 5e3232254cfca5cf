package target

import (
	"fmt"
	"log/slog"
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
