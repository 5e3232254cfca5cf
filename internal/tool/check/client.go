package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ErrUnauthorized says that the token is not the backend's.
var ErrUnauthorized = errors.New("the API token is not accepted")

const (
	requestLimit = 30 * time.Second
	maxAnswer    = 256 << 20
)

// client asks one backend.
type client struct {
	base, token string
	http        *http.Client
}

// refusal is an answer that is not 200.
type refusal struct {
	path, detail string
	status       int
}

func (e *refusal) Error() string {
	return fmt.Sprintf("%s: status %d %s", e.path, e.status, e.detail)
}

// raw gives the body of an answer whatever its status.
func (c *client) raw(ctx context.Context, path string, q url.Values) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	target := c.base + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, body, err
}

func (c *client) bytes(ctx context.Context, path string, q url.Values) ([]byte, error) {
	status, body, err := c.raw(ctx, path, q)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusUnauthorized:
		return nil, ErrUnauthorized
	case status != http.StatusOK:
		var problem struct{ Detail string }
		_ = json.Unmarshal(body, &problem) // not every server in between writes problem+json
		return nil, &refusal{path, problem.Detail, status}
	}
	return body, nil
}

func (c *client) get(ctx context.Context, into any, path string, q url.Values) error {
	body, err := c.bytes(ctx, path, q)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// points are the values of a series without a split; nil is a gap.
func (c *client) points(ctx context.Context, instance, family, column, fn string, step int64, q url.Values) ([][2]*float64, error) {
	all := url.Values{"family": {family}, "column": {column}, "fn": {fn}, "step": {strconv.FormatInt(step, 10)}}
	maps.Copy(all, q)
	var answer struct {
		Series []struct{ Points [][2]*float64 }
	}
	if err := c.get(ctx, &answer, "/api/v1/instances/"+url.PathEscape(instance)+"/series", all); err != nil {
		return nil, err
	}
	if len(answer.Series) == 0 {
		return nil, nil
	}
	return answer.Series[0].Points, nil
}

// unix writes a time as the API reads it, to the microsecond.
func unix(t time.Time) string {
	us := t.UnixMicro()
	return fmt.Sprintf("%d.%06d", us/1_000_000, us%1_000_000)
}

func fromUnix(seconds *float64) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(*seconds * 1e6)).UTC()
}
