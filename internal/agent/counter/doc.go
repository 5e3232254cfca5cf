// Package counter turns two readings of cumulative counters into what was counted
// between them. It is pure: (baseline, reading) -> (frames, new baseline, notes);
// it reads no clock and keeps no state.
//
// It owns invariant I2 where numbers are made: for every counter the sum of the
// deltas in rows and in the cut is the sum of the positive differences of
// successive readings, a counter that began again counting from 0. Deltas are
// integers and never negative. What PostgreSQL forgot between two readings is
// never guessed: it is noted as Unobserved, with its proof.
package counter
