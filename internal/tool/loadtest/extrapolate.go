package loadtest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Extrapolation says what 10,000 instances would take of each resource, and at how many
// it is used up on a machine like this one. All of it is extrapolated: a straight line
// through the smallest and the largest scenario, or from nothing with only one.
type Extrapolation struct {
	At        int        `json:"at"`
	Resources []Resource `json:"resources"` // what breaks first, first
}

// Resource is one of them.
type Resource struct {
	Name  string  `json:"name"`
	Need  float64 `json:"need"` // at 10,000
	Have  float64 `json:"have"`
	Unit  string  `json:"unit"`
	Until float64 `json:"until"` // instances
	Then  string  `json:"then"`  // what helps
}

const extrapolateTo = 10_000

// point is a figure at a number of instances.
type point struct{ n, v float64 }

// line goes through the first and the last point; with one, or when it would fall,
// through the origin.
func line(points []point) (base, slope float64, ok bool) {
	if len(points) == 0 {
		return 0, 0, false
	}
	a, b := points[0], points[len(points)-1]
	if b.n > a.n && b.v > a.v {
		slope = (b.v - a.v) / (b.n - a.n)
		if base = a.v - slope*a.n; base >= 0 {
			return base, slope, true
		}
	}
	return 0, b.v / b.n, b.n > 0 && b.v > 0
}

func (r *Report) extrapolate(t *test) *Extrapolation {
	if len(r.Scenarios) < 2 || t.Quick {
		return nil
	}
	out := &Extrapolation{At: extrapolateTo}
	cores := float64(runtime.NumCPU())
	memory := memoryMB()
	add := func(name, unit, then string, have float64, of func(*Scenario) (n int, v float64)) {
		var points []point
		for _, s := range r.Scenarios {
			if n, v := of(s); n > 0 && v > 0 {
				points = append(points, point{float64(n), v})
			}
		}
		slices.SortStableFunc(points, func(a, b point) int { return int(a.n - b.n) })
		base, slope, ok := line(points)
		if !ok || have <= 0 {
			return
		}
		out.Resources = append(out.Resources, Resource{name, base + slope*extrapolateTo, have, unit, max(0, float64(int64((have-base)/slope))), then})
	}
	real := func(get func(*Real) float64) func(*Scenario) (int, float64) {
		return func(s *Scenario) (int, float64) {
			if s.Real == nil {
				return 0, 0
			}
			return s.Instances, get(s.Real)
		}
	}
	pushed := func(get func(*Simulated) float64) func(*Scenario) (int, float64) {
		return func(s *Scenario) (int, float64) {
			if s.Simulated == nil {
				return 0, 0
			}
			return s.Collectors, get(s.Simulated)
		}
	}
	add("CPU of one collector", "cores", "more collectors: any number may share the instances", cores, real(func(x *Real) float64 { return x.Collector.CPU / 100 }))
	add("memory of one collector", "MB", "more collectors", memory, real(func(x *Real) float64 { return x.Collector.Memory }))
	add("CPU of backend and store", "cores", "more backends beside it (they are stateless), then a larger machine for the store", cores, pushed(func(x *Simulated) float64 { return (x.Backend.CPU + x.Store.CPU) / 100 }))
	add("CPU of the store alone", "cores", "a larger machine for it, then Citus", cores, pushed(func(x *Simulated) float64 { return x.Store.CPU / 100 }))
	add("memory of the backend", "MB", "more backends", memory, pushed(func(x *Simulated) float64 { return x.Backend.Memory }))
	add("disk for 14 days of rows", "GB", "a shorter retention, TimescaleDB's compression", freeGB(t.place.Dir), pushed(func(x *Simulated) float64 {
		return max(0, x.Growth) / 1024 * float64(14*24*time.Hour) / float64(time.Second) / x.Seconds
	}))
	add("network into the backend", "MB/s", "a faster network", 118, pushed(func(x *Simulated) float64 { return float64(x.Bytes) / (1 << 20) / x.Seconds }))
	slices.SortStableFunc(out.Resources, func(a, b Resource) int { return int(min(1e9, max(-1e9, a.Until-b.Until))) })
	return out
}

func (r *Resource) String() string {
	return fmt.Sprintf("%s: %s %s of %s, enough for %s", r.Name, figure(r.Need), r.Unit, figure(r.Have), figure(r.Until))
}

func memoryMB() float64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	if f := strings.Fields(string(text)); len(f) > 1 {
		kb, _ := strconv.ParseFloat(f[1], 64) // 0 leaves the row out
		return kb / 1024
	}
	return 0
}
