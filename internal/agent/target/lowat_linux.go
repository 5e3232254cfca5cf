package target

import (
	"crypto/tls"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// lowWater tells the kernel how much must have come before it wakes us. An answer
// of 40 kB comes in pieces of 8; the poller of Go is woken for each of them, whoever
// reads, and that costs more than decoding the piece.
type lowWater struct {
	raw syscall.RawConn // nil: no TCP connection of this process's own
	set func(fd uintptr)
	now int  // what the kernel was told
	tls bool // some of what came may wait here, decrypted or not
}

func newLowWater(c net.Conn) *lowWater {
	w := &lowWater{now: 1}
	if t, ok := c.(*tls.Conn); ok {
		c, w.tls = t.NetConn(), true
	}
	w.set = func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, w.now) }
	if t, ok := c.(*net.TCPConn); ok {
		w.raw, _ = t.SyscallConn()
	}
	return w
}

// need wants n bytes before the next wake, or the end of the connection.
func (w *lowWater) need(n int) {
	if w.raw == nil || n == w.now {
		return
	}
	w.now = n
	_ = w.raw.Control(w.set) // it only wakes us more often when this fails
}

// once says that only the first read of an exchange may wait for more than a byte.
func (w *lowWater) once() bool { return w.tls }

// works says whether need does anything.
func (w *lowWater) works() bool { return w.raw != nil }
