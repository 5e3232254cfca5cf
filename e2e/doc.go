// Package e2e drives the built program as processes over HTTP: the way of one
// number from a watched server to the page, conservation over kills, and what a
// user meets at the command line.
package e2e
