// Command gen writes what is generated from the catalog: docs/metrics.md and
// web/src/gen/catalog.ts. `make gen` calls it; a test of internal/catalog checks
// that the committed files are current. Run it in the repository's root.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it in the root of the repository: no go.mod here")
	}
	for _, g := range catalog.Generated() {
		old, err := os.ReadFile(g.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.Equal(old, g.Content) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(g.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(g.Path, g.Content, 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", g.Path)
	}
	return nil
}
