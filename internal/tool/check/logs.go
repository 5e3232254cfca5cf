package check

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
)

// errorLine: a healthy deployment logs no line with this word (the keys are err and
// failed), so that an operator can grep for it.
var errorLine = regexp.MustCompile(`(?i)error`)

const maxQuoted = 200

// ScanLog counts the lines of a log that speak of an error.
func ScanLog(name string, r io.Reader) (Log, error) {
	l := Log{Name: name}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			l.Lines++
			if errorLine.MatchString(line) {
				if l.Errors == 0 {
					l.First = clip(line, maxQuoted)
				}
				l.Errors++
			}
		}
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return l, fmt.Errorf("read log %s: %w", name, err)
		}
	}
}
