// Package api holds the specification of the HTTP interface: openapi.yaml is what
// people edit, openapi.json what the backend serves. The Go types are generated
// into internal/server/api, the TypeScript types into web/src/api.
package api

import _ "embed"

//go:generate go run ../internal/tool/openapi openapi.yaml openapi.json
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config ../internal/server/api/oapi-codegen.yaml -o ../internal/server/api/types.gen.go openapi.yaml

// Openapi is the specification as JSON.
//
//go:embed openapi.json
var Openapi []byte
