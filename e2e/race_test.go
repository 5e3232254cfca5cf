//go:build race

package e2e

// The program is built as this test is: with the race detector.
func init() { buildFlags = append(buildFlags, "-race") }
