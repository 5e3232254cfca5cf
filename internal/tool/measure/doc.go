// Package measure is what the tools that measure the product have in common: a folder
// with private PostgreSQL servers, the product's parts as processes of their own, what
// these use of CPU and memory, and a workload for the watched servers.
//
// All that a Place starts ends with its Close, by process id. After a kill -9 of the
// tool a shell that waits for its end does it (the warden).
package measure
