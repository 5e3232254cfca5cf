//go:build !linux

package target

import "net"

// lowWater is known to work on Linux only.
type lowWater struct{}

func newLowWater(net.Conn) *lowWater { return &lowWater{} }

func (*lowWater) need(int) {}

func (*lowWater) once() bool { return false }

func (*lowWater) works() bool { return false }
