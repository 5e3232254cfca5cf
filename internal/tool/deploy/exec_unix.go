//go:build unix

package deploy

import (
	"os/exec"
	"syscall"
)

// detach gives a command a process group of its own.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
