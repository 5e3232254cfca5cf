package api

import "github.com/pganalytics/pganalytics/internal/server/auth"

// Route is a line of the table, for tests that go over all of it.
type Route struct {
	Method, Path string
	Class        auth.Class
}

// Routes gives the whole table.
func Routes() []Route {
	out := make([]Route, len(routes))
	for i, r := range routes {
		out[i] = Route{r.method, r.path, r.class}
	}
	return out
}
