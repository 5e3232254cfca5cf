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
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run() error {
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it in the root of the repository: no go.mod here")
	}
	files, err := generate(catalog.All())
	if err != nil {
		return err
	}
	for _, f := range files {
		old, err := os.ReadFile(f.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.Equal(old, f.Content) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.Path, f.Content, 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", f.Path)
	}
	return nil
}

// dashboards gives all dashboards for families.
func dashboards(families []*catalog.Family) ([]*dashboard, error) {
	instance, err := instanceDashboard(families)
	if err != nil {
		return nil, err
	}
	return []*dashboard{overviewDashboard(), instance, queriesDashboard(), collectorsDashboard()}, nil
}

// generate gives every file under grafana/; paths are from the repository's root.
func generate(families []*catalog.Family) ([]catalog.File, error) {
	list, err := dashboards(families)
	if err != nil {
		return nil, err
	}
	files, err := provisioning()
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		content, err := d.encode()
		if err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
		}
		files = append(files, catalog.File{Path: "grafana/dashboards/" + d.UID + ".json", Content: content})
	}
	return files, nil
}
