// Package web holds the page that the backend serves at "/": the TypeScript under src is built by
// "make ui" into dist/app, which git ignores; dist/index.html is a committed placeholder that says
// so when the page was not built. A plain "go build" needs no Node and embeds whatever is there.
package web

import "embed"

//go:embed all:dist
var dist embed.FS
