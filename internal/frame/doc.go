// Package frame is one measurement in memory and on the wire: frames (the rows
// of one family from one tick), the batch that a round leaves, the gap that
// takes the place of a batch that was dropped, and the envelope in which both
// travel. Encoding and decoding are exact inverses; decoding never panics and
// never allocates more than the input warrants.
//
// It knows the catalog's types, not its families: a batch names its families,
// columns, kinds and types, so a backend can store what an older or newer
// collector sends and say which names it does not know. Names and words of the
// frozen dictionary.txt travel as numbers, a family's columns as bits over the list
// that it has there; all others travel by name, so the catalog may grow without
// another format. Each batch can be read alone.
package frame
