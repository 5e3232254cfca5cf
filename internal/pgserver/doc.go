// Package pgserver runs private PostgreSQL servers: the embedded store and the demo server of
// `pganalytics up`, and, through pgtest, the servers of all tests.
//
// It owns what lies at and beside a data directory D:
//
//	D            made by initdb in a sibling folder and renamed, so it is whole or absent
//	D.password   the superuser's random password (0600)
//	D.socket/    the Unix socket (0700), when its path fits the system's 107 bytes
//	D.port       the TCP port chosen at the first start, when the server listens on TCP
//	D.log        the server's own log, at most two files of 4 MiB (D.log.1 is the older)
//	D.lock       flock held by Run, so that two owners never fight over one postmaster
//
// Decisions: every connection, local ones too, authenticates with scram-sha-256. A Unix socket in
// a folder of mode 0700 would do for the store, but a peer map needs names for every uid, which
// containers lack, and the demo server must listen on TCP, where other users of the machine are.
// The embedded store has no TCP port at all unless asked for: nothing to collide with or to scan.
//
// PostgreSQL refuses to run as root: then it runs as the user postgres, else nobody. A postmaster
// is deliberately not tied to our life (a parent-death signal would be an immediate shutdown and
// depends on the thread that forked); one left by a kill -9 is recognised through /proc and
// stopped by the next Run.
package pgserver
