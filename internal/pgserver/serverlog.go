package pgserver

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	logLimit = 4 << 20 // bytes in one file
	logTail  = 20      // lines kept in memory to explain a failed start
)

// serverLog takes what one run of the postmaster and its children print into a file of bounded
// size, and keeps the last lines.
type serverLog struct {
	path  string
	write *os.File // the children's end
	read  *os.File
	done  chan struct{}

	mu   sync.Mutex // guards tail
	tail []string
}

func openServerLog(path string) (*serverLog, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l := &serverLog{path: path, write: write, read: read, done: make(chan struct{})}
	go l.copy()
	return l, nil
}

// close ends the copying and waits for it. Children that outlive their postmaster hold the pipe
// open, so it ends by time at the latest.
func (l *serverLog) close() {
	_ = l.write.Close() // our copy; closed already when the server was started
	_ = l.read.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	<-l.done
	_ = l.read.Close()
}

// copy goes on when the file cannot be written: a full disk must not stop the server's output.
func (l *serverLog) copy() {
	defer close(l.done)
	f, _ := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	size := int64(0)
	if f != nil {
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
	}
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	r := bufio.NewReaderSize(l.read, 8<<10)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			l.mu.Lock()
			l.tail = append(l.tail, strings.TrimRight(string(line), "\n"))
			l.tail = l.tail[max(0, len(l.tail)-logTail):]
			l.mu.Unlock()
			if f != nil {
				n, _ := f.Write(line)
				size += int64(n)
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		if size > logLimit && f != nil {
			f.Close()
			_ = os.Rename(l.path, l.path+".1")
			f, _ = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			size = 0
		}
	}
}

func (l *serverLog) last() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.tail...)
}
