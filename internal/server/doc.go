// Package server is the backend: it wires the store's packages and the HTTP
// interface, and gives them one life. Any number of backends may run on one store.
//
// The backend serves from its first moment: while the store can't be reached, health
// says so (503) and everything that needs it is refused, and it keeps trying. It ends
// from source to sink: no new requests, then what is being committed, then the store.
package server
