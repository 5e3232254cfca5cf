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
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/tool/measure"
)

// The naive design, the "before" of the comparison: one thread walks over the instances
// one after another; each read opens a connection of its own, sends SQL as text and
// closes it again; of the statements it takes the 100 with the most time, as counted
// since the server's start; what it has read goes to the backend as JSON text. It reads
// the same families as the product, as often. It counts nothing itself, keeps nothing
// on disk and does not retry, so it does less than it would have to.
const naiveLimit = 100

// naiveTask is what the process that is the naive design gets on its standard input.
type naiveTask struct {
	URLs   []string `json:"urls"`
	Sink   string   `json:"sink"` // takes the JSON
	Cycles int      `json:"cycles"`
}

// naiveResult is what it prints: sums over all cycles.
type naiveResult struct {
	Slow, Fast naivePass // all families, and those of the fast lane again
	Connects   int       `json:"connects"`
	ConnectMs  float64   `json:"connect_ms"`
	Bytes      int       `json:"bytes"`
	Statements int       `json:"statements"` // that it reported, last cycle
	Calls      float64   `json:"calls"`      // of these
	Failed     int       `json:"failed"`
	Why        string    `json:"why,omitempty"`
}

type naivePass struct {
	CPU  float64 `json:"cpu_ms"`
	Wall float64 `json:"wall_ms"`
}

// Naive is the naive design on the same servers.
type Naive struct {
	Instances int     `json:"instances"` // that it read; more are scaled up
	CPU       float64 `json:"cpu_ms_per_cycle"`
	Cycle     float64 `json:"cycle_s"`
	Connect   float64 `json:"connect_ms"`
	Connects  int     `json:"connects"`
	Bytes     float64 `json:"bytes_per_cycle"`
	Viable    float64 `json:"viable"`
	Failed    int     `json:"failed"`
	Why       string  `json:"why,omitempty"`

	calls float64 // that the reported statements have
}

// RunNaive is the process: it reads a task and prints a result.
func RunNaive(ctx context.Context, in io.Reader, out io.Writer) error {
	var task naiveTask
	if err := json.NewDecoder(in).Decode(&task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	n := &naive{task: task}
	for range task.Cycles {
		for _, pass := range []struct {
			sum   *naivePass
			lanes []catalog.Lane
		}{{&n.result.Slow, []catalog.Lane{catalog.Fast, catalog.Slow}}, {&n.result.Fast, []catalog.Lane{catalog.Fast}}} {
			before, err := measure.OwnCPU()
			if err != nil {
				return err
			}
			start := time.Now()
			for _, url := range task.URLs {
				if err := n.instance(ctx, url, pass.lanes); err != nil {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					n.result.Failed++
					n.result.Why = err.Error()
				}
			}
			after, err := measure.OwnCPU()
			if err != nil {
				return err
			}
			pass.sum.CPU += ms(after - before)
			pass.sum.Wall += ms(time.Since(start))
		}
	}
	return json.NewEncoder(out).Encode(n.result)
}

type naive struct {
	task   naiveTask
	result naiveResult
}

func (n *naive) instance(ctx context.Context, url string, lanes []catalog.Lane) error {
	all := map[string]any{"instance": url[strings.LastIndexByte(url, '@')+1:], "time": time.Now()}
	var version, extension, schema string
	// Each of its plugins asks the server what it is.
	rows, err := n.read(ctx, url, `SELECT current_setting('server_version_num')::int / 10000 AS v, n.nspname AS s, e.extversion AS e
		FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'`)
	if err != nil {
		return err
	}
	if len(rows) == 1 {
		version, schema, extension = fmt.Sprint(rows[0]["v"]), fmt.Sprint(rows[0]["s"]), fmt.Sprint(rows[0]["e"])
	}
	for _, lane := range lanes {
		for _, q := range naiveQueries(lane, version, extension, schema) {
			rows, err := n.read(ctx, url, q.sql)
			if err != nil {
				return fmt.Errorf("%s: %w", q.family, err)
			}
			all[q.family] = rows
			if q.family == "statements" {
				n.result.Statements, n.result.Calls = len(rows), 0
				for _, r := range rows {
					calls, _ := r["calls"].(int64)
					n.result.Calls += float64(calls)
				}
			}
		}
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	n.result.Bytes += len(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.task.Sink, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true // no pooling here either
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// read opens a connection, reads rows as text by name, and closes it.
func (n *naive) read(ctx context.Context, url, sql string) ([]map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	start := time.Now()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	n.result.Connects++
	n.result.ConnectMs += ms(time.Since(start))
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToMap)
}

type naiveQuery struct{ family, sql string }

// naiveQueries are the catalog's for the families that are read at every tick of a lane.
func naiveQueries(lane catalog.Lane, version, extension, schema string) (out []naiveQuery) {
	var server int
	_, _ = fmt.Sscan(version, &server) // 0: nothing is available
	ext, err := catalog.ParseExtVersion(extension)
	for _, f := range catalog.All() {
		v, s := catalog.Version(server), ""
		if f.Of != "" {
			if err != nil {
				continue
			}
			v, s = ext, schema
		}
		if f.Lane != lane || f.Reader != "" || f.TextsOf != "" || f.Every != 0 || !f.Available(v) {
			continue
		}
		sql := f.Query(v, s).SQL
		if f.Cut != nil {
			sql = fmt.Sprintf("SELECT * FROM (%s) q ORDER BY total_exec_time DESC LIMIT %d", sql, naiveLimit)
		}
		out = append(out, naiveQuery{f.Name, sql})
	}
	return out
}

// maxNaive: more instances than this are scaled up, since one thread takes too long.
const maxNaive = 100

// runNaive lets the naive design read n instances, as the real collector did.
func (t *test) runNaive(ctx context.Context, n int) (*Naive, error) {
	task := naiveTask{Cycles: max(1, min(5, 100/n))}
	for i := range min(n, maxNaive) {
		task.URLs = append(task.URLs, t.servers[i%len(t.servers)].URLAs(measure.Monitor, t.password))
	}
	r, err := t.naiveProcess(ctx, &task)
	if err != nil {
		return nil, fmt.Errorf("run the naive design: %w", err)
	}
	cycles, read := float64(task.Cycles), float64(len(task.URLs))
	// The fast lane is read several times in an interval.
	again := float64(t.Interval/min(10*time.Second, t.Interval)) - 1
	each := (r.Slow.Wall + again*r.Fast.Wall) / cycles / read
	out := &Naive{Instances: len(task.URLs), CPU: (r.Slow.CPU + again*r.Fast.CPU) / cycles / read, Cycle: r.Slow.Wall / cycles / read * float64(n) / 1000,
		Connects: r.Connects, Bytes: float64(r.Bytes) / cycles / read, Failed: r.Failed, Why: r.Why, calls: r.Calls}
	if r.Connects > 0 {
		out.Connect = r.ConnectMs / float64(r.Connects)
	}
	if each > 0 {
		out.Viable = ms(t.Interval) / each
	}
	return out, nil
}

// naiveProcess runs a task in a process of its own, whose CPU time is its own then.
func (t *test) naiveProcess(ctx context.Context, task *naiveTask) (*naiveResult, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	sink := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only the sender is measured
	})}
	go func() { _ = sink.Serve(l) }()
	defer sink.Close()
	task.Sink = "http://" + l.Addr().String()
	input, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.Binary, "loadtest", "--naive-process")
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	var r naiveResult
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Connects == 0 {
		return nil, errors.New(r.Why)
	}
	return &r, nil
}
