package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/tool/check"
)

type checkCommand struct {
	URL       string   `help:"Address of the backend, http://127.0.0.1:8080 by default." placeholder:"URL"`
	DataDir   string   `help:"Data directory of a running \"up\": gives address and token." placeholder:"DIR"`
	CAFile    string   `help:"Certificates in PEM that sign the backend's, besides the system's." placeholder:"FILE"`
	TokenFile string   `help:"File with the API token; PGANALYTICS_API_TOKEN_FILE by default." placeholder:"FILE"`
	Window    string   `help:"How much of the past to judge, such as 15m (the default) or 24h." placeholder:"TIME"`
	From      string   `help:"Begin of the window instead, RFC 3339 or Unix seconds." placeholder:"TIME"`
	To        string   `help:"End of the window; now by default." placeholder:"TIME"`
	Save      string   `help:"Keep the report in this file, to compare with later." placeholder:"FILE"`
	Against   string   `help:"Compare with the report in this file." placeholder:"FILE"`
	Log       []string `help:"Search a log of this deployment for errors; - is the standard input." placeholder:"FILE" sep:"none"`
	Service   []string `help:"Another service and where it answers 2xx when healthy." placeholder:"NAME=URL" sep:"none"`
	Requests  int      `help:"How many requests to time." default:"100"`
	Format    string   `help:"table, markdown or json." default:"table"`
	Explain   bool     `help:"Tell numerator, denominator, window and source of every row."`
	Strict    bool     `help:"Fail also when a monitored row does not meet the deployment's target."`
}

// Help is shown with --help.
func (c *checkCommand) Help() string {
	return `Measures the success criteria on a running deployment. The exit status is 0 when every must-pass row
passes, 1 when one fails or has no data, 2 when the command line is wrong.

Examples:
  pganalytics check --window 1h --explain
  pganalytics check --save before.json
  docker logs pganalytics-collector-demo 2>&1 | pganalytics check --against before.json --log -
  pganalytics check --service grafana=http://localhost:3000/api/health --format markdown`
}

const defaultWindow = 15 * time.Minute

// Run measures, prints and keeps the report.
func (c *checkCommand) Run(ctx context.Context, con *console) error {
	opt, err := c.options(con)
	if err != nil {
		return err
	}
	var before *check.Report
	if c.Against != "" {
		if before, err = check.Load(c.Against); err != nil {
			return usagef("--against: %w", err)
		}
	}
	facts, err := check.Gather(ctx, opt)
	switch {
	case errors.Is(err, check.ErrUnauthorized):
		return usagef("%s: %w; see --token-file", opt.URL, err)
	case err != nil:
		return err
	}
	report := check.Evaluate(facts, before)
	if c.Save != "" {
		if len(report.Families) == 0 {
			return errors.Join(c.print(report, con.stdout), fmt.Errorf("--save: not kept: nothing is read yet that a later report could be compared with"))
		}
		if err := report.Save(c.Save); err != nil {
			return usagef("--save: %w", err)
		}
	}
	if err := c.print(report, con.stdout); err != nil {
		return err
	}
	if !report.Passed || c.Strict && len(report.Monitored) > 0 {
		return errFailed
	}
	return nil
}

func (c *checkCommand) print(report *check.Report, out io.Writer) error {
	switch c.Format {
	case "json":
		return report.JSON(out)
	case "markdown":
		return report.Markdown(out, c.Explain)
	}
	return report.Table(out, c.Explain)
}

// options reads the command line.
func (c *checkCommand) options(con *console) (opt check.Options, err error) {
	if !slices.Contains([]string{"table", "markdown", "json"}, c.Format) {
		return opt, usagef("--format = %q: want table, markdown or json", c.Format)
	}
	if c.Requests < 10 || c.Requests > 10000 {
		return opt, usagef("--requests = %d: want 10 to 10000", c.Requests)
	}
	if err := c.window(&opt); err != nil {
		return opt, err
	}
	for _, s := range c.Service {
		name, target, found := strings.Cut(s, "=")
		u, err := url.Parse(target)
		if !found || name == "" || err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return opt, usagef("--service = %q: want NAME=URL, such as grafana=http://localhost:3000/api/health", s)
		}
		opt.Services = append(opt.Services, check.Service{Name: name, URL: target})
	}
	if opt.URL, opt.Client, err = c.backend(con); err != nil {
		return opt, err
	}
	if u, err := url.Parse(opt.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return opt, usagef("--url = %q: want http://HOST:PORT", opt.URL)
	}
	if opt.Token, err = c.token(con); err != nil {
		return opt, err
	}
	for _, path := range c.Log {
		l, err := scanLog(path)
		if err != nil {
			return opt, usagef("--log: %w", err)
		}
		opt.Logs = append(opt.Logs, l)
	}
	opt.Requests, opt.Inventory = c.Requests, c.Save != "" || c.Against != ""
	opt.Progress = func(what string) { fmt.Fprintf(con.stderr, "%s …\n", what) }
	return opt, nil
}

func (c *checkCommand) window(opt *check.Options) (err error) {
	opt.Window = defaultWindow
	if c.Window != "" {
		if c.From != "" {
			return usagef("--window and --from: want one of them")
		}
		if opt.Window, err = parseTime("--window", c.Window, time.Second, 3650*24*time.Hour); err != nil {
			return err
		}
	}
	if opt.From, err = parseMoment("--from", c.From); err != nil {
		return err
	}
	if opt.To, err = parseMoment("--to", c.To); err != nil {
		return err
	}
	end := opt.To
	if end.IsZero() {
		end = time.Now()
	}
	if !opt.From.IsZero() && end.Sub(opt.From) < time.Second {
		return usagef("--from = %q: want a second or more before --to", c.From)
	}
	return nil
}

// parseMoment reads RFC 3339 or Unix seconds; "" is the zero time.
func parseMoment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && s > 0 && s < 253402300800 { // year 10000
		return time.UnixMicro(int64(s * 1e6)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 {
		return t, usagef("%s = %q: want RFC 3339, such as 2026-11-24T10:00:00Z, or Unix seconds", flag, text)
	}
	return t, nil
}

// backend gives the address to ask, and the client that trusts who answers there.
func (c *checkCommand) backend(con *console) (base string, client *http.Client, err error) {
	if c.URL == "" && c.DataDir == "" && c.CAFile == "" {
		return (&healthCommand{}).own(con) // also with TLS, when asked in the backend's container
	}
	if base, err = backendAddress(c.URL, c.DataDir); err != nil || c.CAFile == "" {
		return base, http.DefaultClient, err
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return "", nil, usagef("--ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return "", nil, usagef("--ca-file = %q: holds no certificate in PEM", c.CAFile)
	}
	return base, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}, nil
}

// token reads the API token from where it was told, or from where the backend or a
// running `up` has it.
func (c *checkCommand) token(con *console) (string, error) {
	path := c.TokenFile
	if path == "" {
		path = con.getenv("PGANALYTICS_API_TOKEN_FILE")
	}
	dir := c.DataDir
	if path == "" && dir == "" {
		var err error
		if dir, err = defaultDataDir(con); err != nil {
			return "", err
		}
	}
	if path == "" {
		path = filepath.Join(dir, tokenFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", usagef("--token-file: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

func scanLog(path string) (check.Log, error) {
	if path == "-" {
		return check.ScanLog("standard input", os.Stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return check.Log{}, err
	}
	defer f.Close()
	return check.ScanLog(path, f)
}
