package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Status of a deployment.
const (
	running    = "running"
	good       = "good"
	failed     = "failed"
	rolledBack = "rolled back"
)

// Record is one deployment.
type Record struct {
	ID       string    `json:"id"` // its local time, as in the names of the backups
	Commit   string    `json:"commit"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Status   string    `json:"status"`
	Step     string    `json:"step"` // the last one begun
	Why      string    `json:"why,omitempty"`
	// Accepted are the preflight checks that failed and were accepted by the caller.
	Accepted []string `json:"accepted,omitempty"`
	// ConfigBackup and ComposeBackup hold what it was deployed with; relative to the repository.
	ConfigBackup  string `json:"config_backup,omitempty"`
	ComposeBackup string `json:"compose_backup,omitempty"`
	Baseline      string `json:"baseline,omitempty"` // the figures before, see pganalytics check --save
	// Gaps are how long a service did not answer, by service.
	Gaps map[string]time.Duration `json:"gaps,omitempty"`
}

// State is what this repository deployed, oldest first.
type State struct {
	Deployments []*Record `json:"deployments"`
}

const (
	configFile  = "collector/config.toml"
	composeFile = "docker-compose.yml"
	stateDir    = ".deploy"
	stateFile   = "state.json"
	keepRecords = 50
)

func loadState(dir string) (*State, error) {
	path := filepath.Join(dir, stateDir, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &State{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of deployments: %w", err)
	}
	s := &State{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read the record of deployments: %s: %w", path, err)
	}
	return s, nil
}

// save replaces the file as a whole.
func (s *State) save(dir string) error {
	if n := len(s.Deployments) - keepRecords; n > 0 {
		s.Deployments = slices.Delete(s.Deployments, 0, n)
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(dir, stateDir, stateFile), append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the record of deployments: %w", err)
	}
	return nil
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// last gives the newest deployment, nil when there is none.
func (s *State) last() *Record {
	if len(s.Deployments) == 0 {
		return nil
	}
	return s.Deployments[len(s.Deployments)-1]
}

// current is what should be serving: the newest one that was good.
func (s *State) current() *Record {
	for _, r := range slices.Backward(s.Deployments) {
		if r.Status == good {
			return r
		}
	}
	return nil
}

// lastKnownGood is what a rollback goes back to: what should be serving when the
// newest deployment failed, else the newest good one of another commit before it.
func (s *State) lastKnownGood() *Record {
	last := s.last()
	if last == nil || last.Status != good {
		return s.current()
	}
	for _, r := range slices.Backward(s.Deployments) {
		if r.Status == good && r.Commit != last.Commit {
			return r
		}
	}
	return nil
}
