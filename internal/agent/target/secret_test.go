package target_test

import (
	"testing"

	"github.com/pganalytics/pganalytics/internal/agent/target"
)

// TestMaskURL: nothing is shown that may be a password, also one whose special
// characters were not written as %XX.
func TestMaskURL(t *testing.T) {
	for raw, want := range map[string]string{
		"postgres://u:secret@h:1/d?sslmode=disable": "postgres://***@h:1/d",
		"postgres://h/d?password=secret":            "postgres://h/d",
		"postgres://h/d?password=sec@ret":           "postgres://***",
		"postgres://u:1#secret@h/d":                 "postgres://***",
		"postgres://u:1?secret@h/d":                 "postgres://***",
		"postgres://u:1/secret@h/d":                 "postgres://***@h/d",
		"postgres://u:sec@ret@h/d":                  "postgres://***@h/d",
		"postgres://u:secret":                       "postgres://***",
		"secret":                                    "***",
	} {
		if got := target.MaskURL(raw); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}
