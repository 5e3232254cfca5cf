package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent"
	"github.com/pganalytics/pganalytics/internal/agent/target"
)

// checkPatience bounds the one request of a check.
const checkPatience = 10 * time.Second

// checkBackend says what keeps a collector from running and pushing: keys that are not
// set, a backend that does not answer, a token that it refuses. Nothing is registered:
// the backend looks at the token first, and then refuses the empty body.
func checkBackend(ctx context.Context, cfg agent.Config, w io.Writer) (ok bool) {
	ok = true
	say := func(mark, format string, args ...any) {
		ok = ok && mark == "ok"
		fmt.Fprintf(w, "%-7s %s\n", mark, fmt.Sprintf(format, args...))
	}
	if err := cfg.Running(); err != nil {
		for line := range strings.Lines(err.Error()) {
			say("missing", "%s", strings.TrimSpace(line))
		}
	}
	if cfg.Backend.URL == "" || cfg.Backend.TokenFile == "" {
		return ok
	}
	token, err := os.ReadFile(cfg.Backend.TokenFile)
	if err != nil {
		return false // agent.Check has said why
	}
	client, err := backendClient(cfg.Backend)
	if err != nil {
		say("failed", "%s", err)
		return ok
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	base := strings.TrimRight(cfg.Backend.URL, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/collectors/register", http.NoBody)
	if err != nil {
		say("failed", "backend.url = %q: %s", target.MaskURL(base), err)
		return ok
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := client.Do(request)
	if err != nil {
		say("failed", "backend.url: no answer: %s", err)
		return ok
	}
	defer response.Body.Close()
	var problem struct {
		Status int
		Detail string
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	_ = json.Unmarshal(body, &problem) // what is no problem+json has no status in it
	switch {
	case problem.Status != response.StatusCode:
		say("failed", "backend.url: %s answers with status %d, but not as pgAnalytics", base, response.StatusCode)
	case problem.Status == http.StatusBadRequest:
		say("ok", "backend %s answers and takes the token of backend.token_file", base)
	case problem.Status == http.StatusUnauthorized:
		say("failed", "backend.token_file = %q: the backend refuses this registration token", cfg.Backend.TokenFile)
	default:
		say("failed", "backend.url: %s answers %s: %s", base, response.Status, problem.Detail)
	}
	return ok
}
