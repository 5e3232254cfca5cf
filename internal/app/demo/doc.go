// Package demo is the small shop that `pganalytics up --demo` lets the collector watch: three
// databases, six roles and a dozen programs on one private PostgreSQL server.
//
// Everything it shows is real: lock waits are checkouts fighting over the last items, temporary
// files come from a report with too little work_mem, sequential scans from a missing index,
// rollbacks from declined cards. It is bounded: every program pauses in proportion to the time
// its statements take (a slow machine gets less load, not a backlog), together they use some
// percent of one core, and old rows are deleted as new ones come.
package demo
