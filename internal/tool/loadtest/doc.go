// Package loadtest puts load on a real backend and a real store and judges what they
// and the collector do by the success criteria (docs/deployment.md, package check).
//
// A scenario has two phases, one after the other. In the first, simulated collectors
// register and push over HTTP: batches that a real collector made of a real server,
// re-identified for each of them (another collector, instance, epoch, sequence number,
// other ticks). Some requests are sent twice, as after a lost answer. At the end the
// ledger must hold exactly the ticks that were pushed, and the store exactly the rows.
// In the second, a real collector watches real servers: one each, or names on at most
// 20 servers, which is said.
//
// The naive design (naive.go) runs in a process of its own beside them: what it takes
// is measured in the same run on the same servers, never remembered.
//
// What is extrapolated is marked so. A criterion without data is not passed.
package loadtest
