// Package catalog declares what pgAnalytics measures: every family of
// statistics, once (invariant I6). The collector's SQL, the wire form, the
// store's tables and views, the API's validation, the UI's panels and
// docs/metrics.md all follow from these declarations.
//
// It is the language that both halves of the product speak, and imports nothing
// of theirs. A new family is one file that calls add; see CONTRIBUTING.md.
package catalog
