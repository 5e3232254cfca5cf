// Package app is the program: command line, configuration, and the wiring of
// stages. It is the only package that sees both halves, the agent and the
// server. Exit codes: 0 ok, 1 failed (a check, or a run), 2 usage or
// configuration.
package app
