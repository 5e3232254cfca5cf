// Package api is the backend's HTTP interface: the routes of api/openapi.yaml with
// the class of caller of each (one table, deny by default), strict parameters,
// problem+json, and handlers that put together what fleet, ledger and series read.
// Handlers write no SQL.
//
// The specification comes first: types.gen.go is generated from it (go generate
// ./api), and a test holds every answer against it.
package api
