// Package pgtest gives tests real PostgreSQL servers of every supported major.
//
//	for _, major := range pgtest.Majors(t) {
//		server := pgtest.Server(t, major)      // shared by the test binary, under 1 s
//		url := pgtest.Database(t, server)      // fresh, dropped with the test
//	}
//
// A test that stops, kills, fills or reconfigures its server takes a Private one.
//
// The programs come from $PGA_TEST_POSTGRES_DIR, by default .cache/postgres of the repository
// (scripts/postgres-majors.sh, which `make test` runs, puts them there), else from
// /usr/lib/postgresql. A missing major fails the test; PGA_TEST_MAJORS="15,17" asks for fewer.
//
// Tests of the store take Store and PrivateStore. PGA_TEST_TIMESCALE_URL, which names a superuser on
// a server that preloads timescaledb, makes them run on TimescaleDB: on that server, or on servers
// of their own with its programs. Where it is not set, tests of TimescaleDB alone skip and say so.
//
// Nothing outlives the tests: each server is the child of a small shell that waits for the end of
// a pipe held by the test process, then stops the server and removes its data, however the test
// process ended. Data lie in /var/tmp/pganalytics-test-*, which every user can pass, as
// PostgreSQL does not run as root. pgtest itself keeps no goroutine running, so leak checks stay
// meaningful.
package pgtest
