// Package target is one watched instance: its connections, what can be read on it
// and the reading itself.
//
// It owns invariant I3 (do no harm) and the hostility rules of a watched server:
//
//   - at most one round per lane is at work, on one connection each; a pool bounds
//     all open ones over all databases;
//   - every Sync group begins with one SELECT of pg_catalog.set_config(…, true) that
//     sets search_path, statement_timeout, lock_timeout,
//     idle_in_transaction_session_timeout and read only for that transaction alone,
//     so nothing is left behind and poolers pass it;
//   - all families of a round go in one network round trip; a family that fails
//     harms no other, and is read in a Sync group of its own until it recovers;
//   - what lives in an extension is called only when it belongs to that extension,
//     which each round checks again;
//   - nothing is cancelled from here: the server's own limits end a statement. A
//     connection that stays silent beyond them is closed.
//
// Passwords in texts are masked before a reading leaves the package, and no error
// or log line of it holds a password or a URL.
package target
