// Package ship pushes batches from the spool to the backend: it registers the
// collector, sends the newest batch first and then the backlog oldest first, and
// obeys the verdicts.
//
// It owns the rule that nothing leaves the spool without a verdict: only a 200 with
// a well-formed list of verdicts counts, for exactly the batches it names. All else
// (a proxy's page, a cut connection, another JSON) is no verdict, and the batches
// are sent again later.
package ship
