package agent

import (
	"fmt"
	"os"
	"strings"
)

const maxToken = 4096

// readToken reads a token file: one line, not empty.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("backend.token_file: %w", err)
	}
	defer f.Close()
	buf := make([]byte, maxToken+1)
	n, err := f.Read(buf)
	if n == 0 && err != nil {
		return "", fmt.Errorf("backend.token_file = %q: want one line, the token", path)
	}
	token := strings.TrimSpace(string(buf[:n]))
	if token == "" || n > maxToken || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("backend.token_file = %q: want one line, the token", path)
	}
	return token, nil
}
