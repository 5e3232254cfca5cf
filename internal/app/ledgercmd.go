package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

type ledgerCommand struct {
	Since    string `help:"How far back, such as 1h or 7d." default:"1h" placeholder:"TIME"`
	URL      string `help:"Address of the backend, http://127.0.0.1:8080 by default." placeholder:"URL"`
	DataDir  string `help:"Data directory of a running \"up\": gives address and token." placeholder:"DIR"`
	Token    string `help:"File with the API token; PGANALYTICS_API_TOKEN_FILE by default." placeholder:"FILE"`
	Instance string `help:"Only this instance (its id)." placeholder:"ID"`
	Family   string `help:"Only this family." placeholder:"FAMILY"`
	Limit    int    `help:"How many exceptions to print." default:"50"`
}

// Run prints the account of planned ticks and its exceptions, newest first.
func (c *ledgerCommand) Run(ctx context.Context, con *console) error {
	since, err := parseTime("--since", c.Since, time.Second, 3650*24*time.Hour)
	if err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 10000 {
		return usagef("--limit = %d: want 1 to 10000", c.Limit)
	}
	base, err := backendAddress(c.URL, c.DataDir)
	if err != nil {
		return err
	}
	path := c.Token
	if path == "" {
		path = con.getenv("PGANALYTICS_API_TOKEN_FILE")
	}
	if path == "" && c.DataDir != "" {
		path = filepath.Join(c.DataDir, tokenFile)
	}
	if path == "" {
		dir, err := defaultDataDir(con)
		if err != nil {
			return err
		}
		path = filepath.Join(dir, tokenFile)
	}
	token, err := os.ReadFile(path)
	if err != nil {
		return usagef("--token: %w", err)
	}
	q := url.Values{"from": {strconv.FormatInt(time.Now().Add(-since).Unix(), 10)}, "limit": {strconv.Itoa(c.Limit)}}
	for name, value := range map[string]string{"instance": c.Instance, "family": c.Family} {
		if value != "" {
			q.Set(name, value)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/ledger?"+q.Encode(), nil)
	if err != nil {
		return usagef("--url = %q: %w", base, err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", base, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	if response.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		_ = json.Unmarshal(body, &problem)
		return fmt.Errorf("%s: %s: %s", base, response.Status, problem.Detail)
	}
	return printLedger(con.stdout, body)
}

func printLedger(out io.Writer, body []byte) error {
	var l struct {
		Planned, Stored, Failed, Skipped, Dropped, Pending, Missing int64
		Truncated                                                   bool
		Items                                                       []struct {
			Time                                                float64
			Instance, Database, Family, Outcome, Reason, Detail string
		}
	}
	if err := json.Unmarshal(body, &l); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	fmt.Fprintf(out, "planned %d = stored %d + failed %d + skipped %d + dropped %d + pending %d + missing %d\n", l.Planned, l.Stored, l.Failed, l.Skipped, l.Dropped, l.Pending, l.Missing)
	if due := l.Planned - l.Pending; due > 0 {
		fmt.Fprintf(out, "success %.2f %% = stored / (planned - pending)\n", 100*float64(l.Stored)/float64(due))
	}
	if len(l.Items) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nTIME\tINSTANCE\tDATABASE\tFAMILY\tOUTCOME\tDETAIL")
	for _, i := range l.Items {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s(%s)\t%s\n", time.UnixMilli(int64(i.Time*1000)).UTC().Format(time.RFC3339), i.Instance, i.Database, i.Family, i.Outcome, i.Reason, i.Detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if l.Truncated {
		fmt.Fprintln(out, "… more; see --limit")
	}
	return nil
}
