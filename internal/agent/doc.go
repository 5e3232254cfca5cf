// Package agent observes PostgreSQL servers: it plans ticks, runs rounds, counts
// deltas and puts batches into the spool, from which package ship pushes them.
// It never knows how they are stored.
//
// It owns the schedule (what is planned when, and what became of it, I4), the
// workers, the baselines' life over restarts, and the order of shutdown: from
// source to sink. What it promises of each round: either its batch, with the new
// baselines, is durably in the spool, or the old baselines stay and the next
// delta spans both (I2).
package agent
