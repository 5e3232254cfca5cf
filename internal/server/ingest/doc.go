// Package ingest stores batches exactly once (invariant I1): it decodes what
// collectors push, claims the batches' ids, and commits them in groups. It owns:
//
//	ingest_batch (collector uuid, epoch, seq, first_seq, prev_epoch, prev_seq, kind, crc, tick, received)
//	    The ids that were claimed: a batch (kind 1, first_seq = seq) or a gap (kind 2) that
//	    stands for first_seq … seq. Rows of one (collector, epoch) never overlap; a number
//	    between them is a batch that has not come yet.
//
//	ingest_pruned (collector, epoch, seq, tick)
//	    Ids up to seq with a tick before tick had been claimed, and their rows are gone.
package ingest

import "embed"

// Migrations are the package's tables, for store.Migrate.
//
//go:embed migrations/*.sql
var Migrations embed.FS
