// Command openapi writes api/openapi.json, what the backend serves, from
// api/openapi.yaml, what people edit. `go generate ./api` calls it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: openapi FROM.yaml TO.json")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	out, err := json.MarshalIndent(doc, "", " ") // keys sorted, a line each: a change shows in a diff
	if err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	out = append(out, '\n')
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, out) {
		return nil
	}
	return os.WriteFile(to, out, 0o644)
}
