package check

import "time"

// Facts is what was read of a deployment. Pointers are nil when there is no data.
type Facts struct {
	URL      string
	Version  string    // of the backend
	Now      time.Time // by the backend's clock, when it answered
	From, To time.Time // From < tick <= To
	Health   *Health
	Startup  []string // steps of the backend's start that failed
	// OneProcess: an "up", where what the collector uses is what everything uses.
	OneProcess bool

	Collectors []Collector // that hold an instance
	Retired    []string    // names of those that hold none
	Listed     bool        // whether the inventory could be read
	Instances  []Instance
	Ledger     *Ledger
	Backend    *Backend
	Services   []Service // asked for beside the backend
	Logs       []Log
	Requests   []time.Duration // of timed requests, API
	Charts     []time.Duration // of timed requests for a chart of 24 hours
	Refused    []string        // timed requests that were not answered with 200
	Unread     []string        // what could not be read, and why
}

// Health is the backend's answer of GET /api/v1/health.
type Health struct {
	Status     string
	Components map[string]Component
}

// Component is a part of Health.
type Component struct{ Status, Detail string }

// Service is another part of the deployment, healthy when its URL answers 2xx.
type Service struct {
	Name, URL string
	Problem   string // "" when healthy
}

// Counts says what became of planned ticks.
type Counts struct {
	Planned int64 `json:"planned"`
	Stored  int64 `json:"stored"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped"`
	Dropped int64 `json:"dropped"`
	Pending int64 `json:"pending"`
	Missing int64 `json:"missing"`
}

// Due are the ticks whose outcome is decided: planned - pending.
func (c Counts) Due() int64 { return c.Planned - c.Pending }

// Ledger is the account of the window.
type Ledger struct {
	Counts
	Reasons []Reason
}

// Reason counts ticks that were not stored by why.
type Reason struct {
	Outcome, Reason string
	Ticks           int64
}

// Collector is a collector that holds instances, with what its process used in the
// window as one of its instances saw it.
type Collector struct {
	ID, Name  string
	Interval  time.Duration
	LastPush  time.Time // zero: never
	Counts    Counts
	CPU       *Ratio   // ms of CPU time over ms observed
	Held      *float64 // percent: the most CPU that was held for five minutes
	Memory    *float64 // bytes: the highest VmHWM in the window
	Cycle     *float64 // seconds: the longest in the window
	PoolOpen  *float64
	PoolMax   *float64
	Instances int
	Work      *Work // sum of its instances'
	Calls     *Calls
}

// Ratio keeps what was divided.
type Ratio struct{ Num, Den float64 }

// Work is what reading an instance took in the window.
type Work struct {
	Rounds, RoundTrips    float64
	Acquires, AcquireTime float64 // ms, opening included
	Connects, ConnectTime float64 // ms
}

func (w *Work) add(o *Work) {
	w.Rounds += o.Rounds
	w.RoundTrips += o.RoundTrips
	w.Acquires += o.Acquires
	w.AcquireTime += o.AcquireTime
	w.Connects += o.Connects
	w.ConnectTime += o.ConnectTime
}

// Calls is how much of the statements' calls and execution time (ms) is stored
// statement by statement.
type Calls struct {
	Stored, Total         float64
	StoredTime, TotalTime float64
	Seconds               float64 // observed
}

// Instance is an instance as the inventory has it.
type Instance struct {
	ID, Name, Status, Reason string
	Collector                string   // id
	Cost                     *float64 // percent of a core of the watched server, an upper bound
	Work                     *Work
	Statements               Counts // of the family statements
	Calls                    *Calls
	Families                 []Family // with an inventory only
}

// Family is what is read of a family in a database ("" for the whole instance).
type Family struct {
	Instance string   `json:"instance"` // its name
	Database string   `json:"database"`
	Family   string   `json:"family"`
	Every    float64  `json:"every"`   // seconds
	Columns  []string `json:"columns"` // that are read
	Counts   Counts   `json:"counts"`  // of the window
}

// Backend is what one backend process counted since it started.
type Backend struct {
	Start    float64 `json:"start"`    // Unix seconds
	At       float64 `json:"at"`       // when it was asked
	CPU      float64 `json:"cpu"`      // seconds
	Requests float64 `json:"requests"` // answered
	Failed   float64 `json:"failed"`   // answered with 5xx; pushes with 4xx too
	Refused  float64 `json:"refused"`  // batches refused for good
}

// Log is a log that was searched for errors.
type Log struct {
	Name          string
	Lines, Errors int
	First         string // the first line with an error
}
