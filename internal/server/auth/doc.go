// Package auth says who a caller is and whether a route is for them. It owns the
// secret files of the backend (API token, registration token), the table auth_session
// and the one-time sign-in tokens.
//
// Invariants: every secret has 256 random bits and is kept and compared as its
// SHA-256, so neither the database nor a timing tells it; a token that a request
// carries decides alone (a wrong bearer is refused even beside a good cookie); a
// store that can't be asked is ErrUnavailable, never "not signed in".
package auth
