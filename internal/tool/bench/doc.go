// Command bench measures the product beside references in the same run (make bench;
// figures in docs/benchmarks.md). On a shared machine milliseconds say little: what
// is judged are ratios to a reference that had the same machine at the same time.
//
//	collector  the built program watching many real servers at once, beside the floor:
//	           a process that sends the same families' prepared SQL to the same servers
//	           at the same cadence and throws every row away
//	ingest     pushes over HTTP into a real backend, beside a bare COPY of the same rows
//	           into the same table
//	wire       bytes and CPU of what that collector pushed, beside JSON + zstd
//
// Servers lie in a folder below /var/tmp. They are stopped and the folder is removed
// at the end, also after Ctrl-C; after a kill -9 of the benchmark a shell that waits
// for its end does it.
package main
