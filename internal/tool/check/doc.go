// Package check judges a running deployment by its success criteria
// (docs/deployment.md): each one is measured live, or says where it is measured.
//
// Gather reads Facts over HTTP: the query API, /metrics, and requests that it times
// itself. Evaluate is pure: Facts and an older Report in, a Report out. Two rules
// hold throughout. What should report comes from the inventory, so a collector that
// fell silent is a row without data and not a shorter list; and no data is no pass.
// A figure is never made up: what the API does not tell is marked with the command
// that measures it.
package check
