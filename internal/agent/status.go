package agent

import (
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/host"
	"github.com/pganalytics/pganalytics/internal/agent/ship"
	"github.com/pganalytics/pganalytics/internal/agent/spool"
)

// Status is a snapshot of an Agent.
type Status struct {
	Collector string // its id, "" before Run
	Started   time.Time
	Workers   int
	Working   int // slots in use
	Waiting   int // rounds that wait for one
	Overflow  int // rounds that hold none
	Rounds    uint64
	Failed    uint64    // rounds that nothing answered
	LastRound time.Time // when one ended, answered or not; zero: none has
	Cycle     Cycle     // the last complete one
	Pool      Pool
	Spool     spool.Stats
	Ship      ship.Status
	Process   host.Process
	Instances []InstanceStatus
}

// Pool is the connections to all instances together.
type Pool struct {
	Open, Busy, Max          int
	Connects, Acquires       int64
	ConnectTime, AcquireTime time.Duration
	RoundTrips               int64
	ServerTime               time.Duration
}

func (p Pool) acquire() time.Duration {
	if p.Acquires == 0 {
		return 0
	}
	return (p.AcquireTime / time.Duration(p.Acquires)).Round(time.Microsecond)
}

// InstanceStatus is one instance's.
type InstanceStatus struct {
	Name      string
	Down      bool
	Failure   string // of the last attempt to reach it
	Held      string // the collector that holds the name
	LastRound time.Time
	Version   string
	Rounds    int64
}

func (a *Agent) pool() (p Pool) {
	for _, in := range a.instances {
		in.mu.Lock()
		w := &in.work
		p.Open += w.poolOpen
		p.Busy += w.poolBusy
		p.Max += a.cfg.Postgres.MaxSize
		p.Connects += w.connects
		p.Acquires += w.acquires
		p.ConnectTime += w.connectTime
		p.AcquireTime += w.acquireTime
		p.RoundTrips += w.trips
		p.ServerTime += w.serverTime
		in.mu.Unlock()
	}
	return p
}

// Status gives a snapshot. It may be called at any time.
func (a *Agent) Status() Status {
	s := Status{Started: a.started, Workers: a.workers.size, Pool: a.pool()}
	s.Working, s.Waiting = a.workers.slots.counts()
	s.Overflow, _ = a.workers.overflow.counts()
	s.Cycle, _ = a.cycle.seen()
	a.cycle.mu.Lock()
	s.Rounds, s.Failed, s.LastRound = a.cycle.rounds, a.cycle.failed, a.cycle.ended
	a.cycle.mu.Unlock()
	a.mu.Lock()
	j, shipper := a.journal, a.shipper
	a.mu.Unlock()
	if j != nil {
		id, _ := j.identity()
		s.Collector, s.Spool = id.String(), j.spool.Stats()
	}
	if shipper != nil {
		s.Ship = shipper.Status()
	}
	s.Process, _ = a.own.Self() // zero where it can't be known
	for _, in := range a.instances {
		in.mu.Lock()
		s.Instances = append(s.Instances, InstanceStatus{
			Name: in.name, Down: in.down, Failure: in.said, Held: in.held, LastRound: in.work.lastRound, Version: in.server.VersionText, Rounds: in.work.rounds,
		})
		in.mu.Unlock()
	}
	return s
}
