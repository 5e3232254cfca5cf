// Package spool is the collector's queue on disk: what it was given durably is
// handed to the shipper until it is acknowledged, whatever is killed, cut off,
// filled up or damaged in between.
//
// It knows nothing of what it keeps. A batch is opaque bytes with an id and, beside
// it, its opaque gap form (sums without rows) that takes its place when it is
// dropped; a baseline is an opaque blob under a key. A batch and the baselines that
// belong to it are one record: both are durable, or neither is.
//
// # On disk
//
// DIR holds segments NUMBER-NONCE.seg, the folders dead/ (batches refused for good)
// and quarantine/ (damaged bytes), and the file lock. A segment is a sequence of
// records and nothing else. A record is a header (magic, type, lengths, numbers,
// CRC32C), a lead (ids, gap form, the lengths and CRCs of what follows) and a body
// (baselines, data). The header's CRC covers the segment's nonce and the record's
// offset, so neither stale blocks nor record-like bytes inside a batch, which come
// from watched servers, are ever taken for records.
//
// Every record has a log sequence number (LSN); they have no holes. Records written
// together are one group: one write, one fdatasync. Each header carries
//   - base: the first LSN its segment may hold. Whatever an older segment holds from
//     there on is void. That is how a write that failed is undone: after a failure
//     the file is never used again, the next segment starts at the same LSN.
//   - floor: everything below is needless, and what made it so was durable before
//     this record. Segments below a durable floor are unlinked, oldest first.
//
// A hole of LSNs above the floor is therefore damage, whatever its cause, a missing
// file included; a group that is the last one and has a hole was cut by a crash and
// had not been confirmed to anyone. Unless its file goes on behind it, whatever stands
// there: a file is written on only when all before is durable. Then the hole is
// damage, and what was lost may have been delivered. Each header says how far its group
// goes, so that this is known as long as one record of the group is sound.
//
// The last group is the one that nothing proves to be on disk: it may be read from
// memory after a sync that failed. Open writes it again, in a new segment with the
// same base, before anything of it is given to the shipper; its records are marked
// as copies, so that a crash in the middle of that does not void the originals.
//
// # Invariants
//
//   - Append returned nil: the batch and its baselines survive any crash. Append
//     returned an error: neither is there, nor will it come back, unless the
//     process ends before the next successful Append; then the baselines recovered
//     are those of that batch, so nothing is counted twice.
//   - Ids of an epoch are given out without holes, and in the order of the log.
//   - A group never holds two records with baselines of the same key.
//   - Nothing is unlinked before what made it needless is durable.
//   - The files together exceed Options.MaxSize by at most one segment, plus one
//     batch where batches are larger than segments.
//   - What was lost with its record is named: a gap has its ids, and holds what the
//     owner makes of the baselines before and the batches behind (Options.Lost).
//   - A segment is unlinked only when it is the oldest one. So a batch goes before
//     its acknowledgement, a baseline before what replaced it.
package spool
