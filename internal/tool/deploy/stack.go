package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// Services of docker-compose.yml that we build.
var built = []string{"backend", "collector"}

func image(service, tag string) string { return "pganalytics/" + service + ":" + tag }

// containers are the names of docker-compose.yml, by service.
var containers = map[string]string{
	"postgres": "pganalytics-postgres", "timescale": "pganalytics-timescale", "backend": "pganalytics-backend",
	"collector": "pganalytics-collector-demo", "grafana": "pganalytics-grafana",
}

const candidate = "pganalytics-backend-candidate"

// stack is the compose project.
type stack struct {
	*runner
	tool []string // docker-compose, or docker compose
}

// findCompose looks for a compose command, the older one first, as the runbook has it.
func findCompose(ctx context.Context, r *runner) (tool []string, version string, err error) {
	for _, tool := range [][]string{{"docker-compose"}, {"docker", "compose"}} {
		version, err = r.ask(ctx, append(slices.Clone(tool), "version", "--short")...)
		if err == nil {
			return tool, version, nil
		}
	}
	return nil, "", errors.New("neither docker-compose nor docker compose is there")
}

// compose makes a command of the project; tag chooses the images of what we build.
func (s *stack) compose(tag string, args ...string) command {
	c := command{args: append(slices.Clone(s.tool), args...), changes: true, limit: 5 * time.Minute}
	if tag != "" {
		c.env = []string{"PGANALYTICS_TAG=" + tag}
	}
	return c
}

// services are those that are not behind a profile which is off.
func (s *stack) services(ctx context.Context) ([]string, error) {
	// config --services of docker-compose 1.29 names those too.
	out, err := s.ask(ctx, append(slices.Clone(s.tool), "config")...)
	if err != nil {
		return nil, err
	}
	return enabledServices(out, strings.Split(os.Getenv("COMPOSE_PROFILES"), ","))
}

func enabledServices(config string, profiles []string) (list []string, err error) {
	var c struct {
		Services map[string]struct{ Profiles []string }
	}
	if err := yaml.Unmarshal([]byte(config), &c); err != nil {
		return nil, fmt.Errorf("read the compose file: %w", err)
	}
	for name, s := range c.Services {
		on := len(s.Profiles) == 0 || slices.ContainsFunc(s.Profiles, func(p string) bool { return slices.Contains(profiles, p) })
		if on && containers[name] != "" {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// health is what Docker says of a container: healthy, starting, unhealthy, or its
// state when it has no health check or does not run; "" when there is none.
func (s *stack) health(ctx context.Context, container string) string {
	out, err := s.ask(ctx, "docker", "inspect", "-f", "{{if and .State.Running .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}", container)
	if err != nil {
		return ""
	}
	return out
}

// imageID of a tag or of a container's image, "" when there is none.
func (s *stack) imageID(ctx context.Context, of string) string {
	id, err := s.ask(ctx, "docker", "inspect", "-f", "{{if .Image}}{{.Image}}{{else}}{{.Id}}{{end}}", of)
	if err != nil {
		return ""
	}
	return id
}

func (s *stack) hasImage(ctx context.Context, name string) bool {
	_, err := s.ask(ctx, "docker", "image", "inspect", "-f", "{{.Id}}", name)
	return err == nil
}

// wait waits until a container is healthy; an error holds the end of its log.
func (s *stack) wait(ctx context.Context, container string, limit time.Duration) error {
	if s.dry {
		fmt.Fprintf(s.out, "    (waits until %s is healthy, at most %s)\n", container, limit)
		return nil
	}
	var state string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		switch state = s.health(ctx, container); state {
		case "healthy":
			return nil
		case "unhealthy", "exited", "dead", "":
			return fmt.Errorf("%s is %s:\n%s", container, describe(state), s.log(ctx, container))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is %s after %s:\n%s", container, describe(state), limit, s.log(ctx, container))
}

func describe(state string) string {
	if state == "" {
		return "not there"
	}
	return state
}

// log gives the end of a container's output.
func (s *stack) log(ctx context.Context, container string) string {
	c := command{args: []string{"docker", "logs", "--tail", "15", container}}
	out, err := s.run(context.WithoutCancel(ctx), command{args: []string{"sh", "-c", `"$@" 2>&1`, "sh", c.args[0], c.args[1], c.args[2], c.args[3], c.args[4]}})
	if err != nil {
		return "(no log)"
	}
	return out
}

// address is where the backend's port is published.
func (s *stack) address(ctx context.Context) (string, error) {
	out, err := s.ask(ctx, append(slices.Clone(s.tool), "port", "backend", "8080")...)
	if err != nil {
		return "", err
	}
	if out == "" {
		return "", errors.New("the backend publishes no port")
	}
	return "http://" + strings.Replace(out, "0.0.0.0", "127.0.0.1", 1), nil
}

// apiToken is read where the stack keeps it.
func (s *stack) apiToken(ctx context.Context) (string, error) {
	return s.ask(ctx, append(slices.Clone(s.tool), "run", "--rm", "-T", "secrets", "show", "api-token")...)
}

// gap measures how long an address does not answer, until stop is called: the time
// from the last answer before to the first one after, summed.
type gap struct {
	mu    sync.Mutex
	total time.Duration
	ok    time.Time // the last answer
	down  bool
	stop  func() time.Duration
}

func watch(ctx context.Context, url string) *gap {
	g := &gap{ok: time.Now()}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			g.look(answers(ctx, client, url), time.Now())
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	g.stop = func() time.Duration {
		cancel()
		<-done
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.down {
			g.total += time.Since(g.ok)
		}
		return g.total
	}
	return g
}

func (g *gap) look(ok bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ok {
		if g.down {
			g.total += now.Sub(g.ok)
		}
		g.ok = now
	}
	g.down = !ok
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
