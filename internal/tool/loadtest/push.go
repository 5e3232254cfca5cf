package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

const (
	pathRegister  = "/api/v1/collectors/register"
	pathPush      = "/api/v1/metrics/push"
	envelopesType = "application/vnd.pganalytics.envelopes"
	headerOldest  = "Pganalytics-Oldest-Tick"

	requestLimit = 30 * time.Second
	maxReply     = 8 << 20
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// refused is an answer that is not 200.
type refused struct {
	status int
	after  time.Duration // Retry-After
	text   string
}

func (e *refused) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.text) }

// wire is a connection of one collector to the backend.
type wire struct {
	base string
	http *http.Client
}

// newWire makes the connection of collector i. On this machine each comes from a
// loopback address of its own, since the backend bounds what one address may ask.
func newWire(base string, i int) *wire {
	d := &net.Dialer{Timeout: 10 * time.Second}
	if loopback(base) {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, byte(1+i>>16&0x7f), byte(i>>8), byte(i))}
	}
	t := &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1, DisableCompression: true}
	return &wire{base: strings.TrimRight(base, "/"), http: &http.Client{Transport: t}}
}

func (w *wire) close() { w.http.CloseIdleConnections() }

func (w *wire) post(ctx context.Context, path, token, contentType string, oldest int64, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	if oldest != 0 {
		request.Header.Set(headerOldest, strconv.FormatInt(oldest, 10))
	}
	return do(w.http, request, token, into)
}

func do(client *http.Client, request *http.Request, token string, into any) error {
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		after, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return &refused{response.StatusCode, time.Duration(after) * time.Second, string(text[:min(len(text), 300)])}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// register gets the member its token and its instance's id.
func (m *member) register(ctx context.Context, w *wire, secret, version string, interval time.Duration) error {
	body, err := json.Marshal(map[string]any{"id": m.id.String(), "name": m.name, "version": version, "hostname": "loadtest", "interval": interval.Seconds(),
		"instances": []map[string]any{{"name": m.name, "labels": map[string]string{"loadtest": "yes"}}}})
	if err != nil {
		return err
	}
	var answer struct {
		Token     string
		Instances []struct{ Name, ID string }
	}
	err = patiently(ctx, time.Minute, func() error {
		return w.post(ctx, pathRegister, secret, "application/json", 0, body, &answer)
	})
	if err == nil && (answer.Token == "" || len(answer.Instances) != 1) {
		err = fmt.Errorf("the answer grants %d instances", len(answer.Instances))
	}
	if err != nil {
		return fmt.Errorf("register %s: %w", m.name, err)
	}
	m.token, m.instance = answer.Token, answer.Instances[0].ID
	return nil
}

// patiently asks again while the backend says "later", as a collector does.
func patiently(ctx context.Context, limit time.Duration, ask func() error) error {
	wait := 100 * time.Millisecond
	for deadline := time.Now().Add(limit); ; {
		err := ask()
		var no *refused
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) || errors.As(err, &no) && no.status != http.StatusTooManyRequests && no.status < 500 {
			return err
		}
		if no != nil && no.after > 0 {
			wait = no.after
		}
		if measure.Sleep(ctx, wait) != nil {
			return err
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// verdicts is what the backend said of the batches of a request.
type verdicts map[string]int

// push sends envelopes once.
func (m *member) push(ctx context.Context, w *wire, body []byte, batches int) (verdicts, error) {
	var answer struct {
		Results []struct{ Status, Reason, Detail string }
	}
	if err := w.post(ctx, pathPush, m.token, envelopesType, m.from, body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Results) != batches {
		return nil, fmt.Errorf("%d verdicts on %d batches", len(answer.Results), batches)
	}
	out := verdicts{}
	for _, r := range answer.Results {
		word := r.Status
		if r.Status == "refused" {
			word += "(" + r.Reason + ": " + r.Detail + ")"
		}
		out[word]++
	}
	return out, nil
}

func encode(list []*frame.Batch) (body []byte) {
	for _, b := range list {
		body = frame.AppendEnvelope(body, frame.NewEnvelope(b))
	}
	return body
}
