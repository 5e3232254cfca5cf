package pgserver

import "testing"

// SetDebianRoot lets a test stand on a machine whose packages lie elsewhere, or that has none.
func SetDebianRoot(t testing.TB, dir string) {
	was := debianRoot
	debianRoot = dir
	t.Cleanup(func() { debianRoot = was })
}

// LogLimit is the size at which the server's log file gives way to a new one.
const LogLimit = logLimit

// CopyLog sends lines through a server log into the file path and gives the lines kept in memory.
func CopyLog(path string, lines []string) ([]string, error) {
	l, err := openServerLog(path)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if _, err := l.write.WriteString(line + "\n"); err != nil {
			return nil, err
		}
	}
	l.close()
	return l.last(), nil
}
