package pgserver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Postmaster gives the process id of the live postmaster of exactly this data directory, 0 when
// there is none. postmaster.pid alone is no proof: after a crash another process may have that
// id, so the process must be a postgres program working in this directory.
func Postmaster(dataDir string) int {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 || !serves(pid, dataDir) {
		return 0
	}
	return pid
}

// serves says whether a process is a live postgres program in dataDir: a postmaster or one of
// its children.
func serves(pid int, dataDir string) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	exe, err := os.Readlink(proc + "/exe") // fails for zombies
	if err != nil || strings.TrimSuffix(filepath.Base(exe), " (deleted)") != "postgres" {
		return false
	}
	cwd, err := os.Stat(proc + "/cwd")
	if err != nil {
		return false
	}
	dir, err := os.Stat(dataDir)
	return err == nil && os.SameFile(cwd, dir)
}

// status reads what a postmaster says of itself in postmaster.pid: "starting", "ready",
// "stopping", "standby" or "".
func status(dataDir string) string {
	text, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return ""
	}
	const statusLine = 7 // LOCK_FILE_LINE_PM_STATUS - 1, since PostgreSQL 10
	lines := strings.Split(string(text), "\n")
	if len(lines) <= statusLine {
		return ""
	}
	return strings.TrimSpace(lines[statusLine])
}

// Accepts says whether the postmaster of dataDir takes connections, by its own word.
func Accepts(dataDir string) bool {
	s := status(dataDir)
	return s == "ready" || s == "standby"
}

// Below lists the live postgres processes that work in dir or a folder below it.
func Below(dir string) []int {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	var pids []int
	for _, pid := range processes() {
		cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
		if err == nil && (cwd == real || strings.HasPrefix(cwd, real+"/")) && serves(pid, cwd) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
