package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type healthCommand struct {
	URL     string        `help:"Address of the backend, http://127.0.0.1:8080 by default." placeholder:"URL"`
	DataDir string        `help:"Data directory of a running \"up\", instead of --url." placeholder:"DIR"`
	Timeout time.Duration `help:"How long to wait for an answer." default:"5s"`
}

// Run prints each component and fails unless the backend is healthy.
func (c *healthCommand) Run(ctx context.Context, con *console) error {
	base, err := c.base()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/health", nil)
	if err != nil {
		return usagef("--url = %q: %w", base, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", base, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	var health struct {
		Status     string `json:"status"`
		Components map[string]struct {
			Status string `json:"status"`
			Detail string `json:"detail"`
		} `json:"components"`
	}
	if err := json.Unmarshal(body, &health); err != nil || health.Status == "" {
		return fmt.Errorf("%s answers with status %d, but not as a pgAnalytics backend", base, response.StatusCode)
	}
	fmt.Fprintf(con.stdout, "%s\n", health.Status)
	for _, name := range slices.Sorted(maps.Keys(health.Components)) {
		part := health.Components[name]
		fmt.Fprintf(con.stdout, "  %-10s %s %s\n", name, part.Status, part.Detail)
	}
	if response.StatusCode != http.StatusOK {
		return errFailed
	}
	return nil
}

func (c *healthCommand) base() (string, error) {
	switch {
	case c.URL != "" && c.DataDir != "":
		return "", usagef("--url and --data-dir: want one of them")
	case c.URL != "":
		return strings.TrimRight(c.URL, "/"), nil
	case c.DataDir != "":
		text, err := os.ReadFile(filepath.Join(c.DataDir, addressFile))
		if err != nil {
			return "", fmt.Errorf("--data-dir: nothing runs there: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	return "http://127.0.0.1:8080", nil
}
