package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Paths of the backend's endpoints for collectors.
const (
	pathRegister = "/api/v1/collectors/register"
	pathNewest   = "/api/v1/collectors/self/newest"
	pathPush     = "/api/v1/metrics/push"

	// ContentType of a push: envelopes one after another, nothing else.
	ContentType = "application/vnd.pganalytics.envelopes"
	// HeaderOldest carries the tick of the oldest batch still kept, microseconds.
	HeaderOldest = "Pganalytics-Oldest-Tick"

	maxReply = 4 << 20
)

// ErrUnauthorized says that the backend does not know the token.
var ErrUnauthorized = errors.New("the backend does not accept the token")

// StatusError is an answer that holds no verdict.
type StatusError struct {
	Status int
	// RetryAfter is what the backend asked for with 429 or 503; 0 when it did not.
	RetryAfter time.Duration
	Detail     string // of a problem+json, or what was wrong with the answer
}

func (e *StatusError) Error() string {
	if e.Detail != "" {
		return fmt.Sprintf("status %d: %s", e.Status, e.Detail)
	}
	return fmt.Sprintf("status %d", e.Status)
}

// Verdict is what the backend says of one batch.
type Verdict struct {
	Epoch, Seq uint64
	Status     Ruling
	Reason     string
}

// Ruling is the verdict's word.
type Ruling string

// The verdicts. Stored and duplicate are as good; refused is for good; unavailable
// is for now; cloned means that the backend holds other content under this id.
const (
	Stored      Ruling = "stored"
	Duplicate   Ruling = "duplicate"
	Refused     Ruling = "refused"
	Unavailable Ruling = "unavailable"
	Cloned      Ruling = "cloned"
)

// Registration is what a collector says of itself.
type Registration struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Version   string     `json:"version"`
	Hostname  string     `json:"hostname,omitempty"`
	Interval  float64    `json:"interval,omitempty"` // seconds
	Instances []Instance `json:"instances"`
}

// Instance is a watched instance in a registration.
type Instance struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Conflict is an instance whose name another collector holds.
type Conflict struct {
	Instance      string  `json:"instance"`
	Holder        string  `json:"holder"`
	SilentSeconds float64 `json:"silent_seconds"`
}

// registered is the answer to a registration, also with 409.
type registered struct {
	Token     string `json:"token"`
	Instances []struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	} `json:"instances"`
	Conflicts []Conflict `json:"conflicts"`
}

// client speaks the three endpoints. It follows no redirect: a credential must not
// go where the configuration did not say.
type client struct {
	base string
	http *http.Client
}

func newClient(base string, h *http.Client) *client {
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &client{base: strings.TrimRight(base, "/"), http: &own}
}

func (c *client) register(ctx context.Context, token string, r Registration) (*registered, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	var out registered
	err = c.do(ctx, http.MethodPost, pathRegister, token, "application/json", body, nil, &out, http.StatusConflict)
	if err == nil && out.Token == "" {
		err = &StatusError{Status: http.StatusOK, Detail: "the answer holds no token"}
	}
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	return &out, nil
}

// newest asks for the newest batch that the backend has of us; seq 0: none.
func (c *client) newest(ctx context.Context, token string) (epoch, seq uint64, err error) {
	var out struct {
		Epoch string `json:"epoch"`
		Seq   number `json:"seq"`
	}
	if err := c.do(ctx, http.MethodGet, pathNewest, token, "", nil, nil, &out); err != nil {
		return 0, 0, fmt.Errorf("ask for the newest batch: %w", err)
	}
	if out.Seq == 0 {
		return 0, 0, nil
	}
	if epoch, err = strconv.ParseUint(out.Epoch, 16, 64); err != nil {
		return 0, 0, fmt.Errorf("ask for the newest batch: epoch %q: want 16 hexadecimal digits", out.Epoch)
	}
	return epoch, uint64(out.Seq), nil
}

// push sends envelopes. The verdicts are those of ids that were sent; unknown are
// names that the backend ignored.
func (c *client) push(ctx context.Context, token string, envelopes []*frame.Envelope, body []byte, oldest int64) (verdicts map[frame.ID]Verdict, unknown []string, err error) {
	var out struct {
		Results *[]struct {
			Epoch  string `json:"epoch"`
			Seq    number `json:"seq"`
			Status Ruling `json:"status"`
			Reason string `json:"reason"`
		} `json:"results"`
		Unknown []string `json:"unknown"`
	}
	header := http.Header{}
	if oldest != 0 {
		header.Set(HeaderOldest, strconv.FormatInt(oldest, 10))
	}
	if err := c.do(ctx, http.MethodPost, pathPush, token, ContentType, body, header, &out); err != nil {
		return nil, nil, fmt.Errorf("push: %w", err)
	}
	if out.Results == nil {
		return nil, nil, fmt.Errorf("push: %w", &StatusError{Status: http.StatusOK, Detail: "the answer holds no results"})
	}
	sent := make(map[[2]uint64]frame.ID, len(envelopes))
	for _, e := range envelopes {
		sent[[2]uint64{e.ID.Epoch, e.ID.Seq}] = e.ID
	}
	verdicts = make(map[frame.ID]Verdict, len(*out.Results))
	for _, r := range *out.Results {
		epoch, err := strconv.ParseUint(r.Epoch, 16, 64)
		if err != nil {
			continue
		}
		id, ours := sent[[2]uint64{epoch, uint64(r.Seq)}]
		switch r.Status {
		case Stored, Duplicate, Refused, Unavailable, Cloned:
			if ours {
				verdicts[id] = Verdict{Epoch: epoch, Seq: uint64(r.Seq), Status: r.Status, Reason: r.Reason}
			}
		}
	}
	return verdicts, out.Unknown, nil
}

// do sends a request and decodes a JSON answer of status 200 (or one of also) into
// out. Anything else is an error: ErrUnauthorized, a *StatusError, or what the
// network said.
func (c *client) do(ctx context.Context, method, path, token, contentType string, body []byte, header http.Header, out any, also ...int) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	maps.Copy(req.Header, header)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // its text repeats method and URL
			err = ue.Err
		}
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := kind == "application/json" || kind == "application/problem+json"
	ok := resp.StatusCode == http.StatusOK
	for _, status := range also {
		ok = ok || resp.StatusCode == status
	}
	switch {
	case len(text) > maxReply:
		return &StatusError{Status: resp.StatusCode, Detail: fmt.Sprintf("the answer is longer than %d bytes", maxReply)}
	case resp.StatusCode == http.StatusUnauthorized:
		return ErrUnauthorized
	case !ok:
		return &StatusError{Status: resp.StatusCode, RetryAfter: retryAfter(resp), Detail: problem(isJSON, text)}
	case !isJSON:
		return &StatusError{Status: resp.StatusCode, Detail: fmt.Sprintf("the answer is %q, not JSON: is there a proxy in between?", kind)}
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &StatusError{Status: resp.StatusCode, Detail: "the answer is not the expected JSON"}
	}
	return nil
}

// problem is the detail of a problem+json, for the log.
func problem(isJSON bool, text []byte) string {
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if !isJSON || json.Unmarshal(text, &p) != nil {
		return ""
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return p.Detail[:min(len(p.Detail), 500)]
}

// retryAfter reads the header of 429 and 503: seconds or a date.
func retryAfter(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(value); err == nil && n >= 0 {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, time.Until(at)), maxRetryAfter)
	}
	return 0
}

// number reads a JSON number or a string of digits: ids are strings in JSON.
type number uint64

func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseUint(strings.Trim(string(b), `"`), 10, 64)
	*n = number(v)
	return err
}
