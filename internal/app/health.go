package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/target"
)

type healthCommand struct {
	URL     string        `help:"Address of the backend, http://127.0.0.1:8080 by default." placeholder:"URL"`
	DataDir string        `help:"Data directory of a running \"up\" or collector, instead of --url." placeholder:"DIR"`
	Timeout time.Duration `help:"How long to wait for an answer." default:"5s"`
}

// Run prints each component and fails unless the backend is healthy.
func (c *healthCommand) Run(ctx context.Context, con *console) error {
	base, client, err := c.whom(con)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/health", nil)
	if err != nil {
		return usagef("--url = %q: %w", base, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer from %s: %w", base, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	var health answer
	if err := json.Unmarshal(body, &health); err != nil || health.Status == "" {
		return fmt.Errorf("%s answers with status %d, but not as pgAnalytics", base, response.StatusCode)
	}
	fmt.Fprintf(con.stdout, "%s\n", health.Status)
	for _, name := range slices.Sorted(maps.Keys(health.Components)) {
		part := health.Components[name]
		fmt.Fprintf(con.stdout, "  %-10s %s %s\n", name, part.Status, part.Detail)
	}
	if response.StatusCode != http.StatusOK {
		return errFailed
	}
	return nil
}

// whom gives the address to ask, and the client that reaches it: over the network,
// or a collector's socket.
func (c *healthCommand) whom(con *console) (base string, client *http.Client, err error) {
	if c.URL == "" && c.DataDir == "" {
		return c.own(con)
	}
	base, err = backendAddress(c.URL, c.DataDir)
	socket := filepath.Join(c.DataDir, healthSocket)
	if c.URL != "" || !errors.Is(err, fs.ErrNotExist) {
		return base, http.DefaultClient, err
	}
	if _, serr := os.Stat(socket); serr != nil {
		return "", nil, err
	}
	return "http://collector", &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}, nil
}

// own gives the backend that the same environment would start, on loopback: what a
// container's health check asks. With TLS it must show the very certificate of
// TLS_CERT, whatever name stands in it.
func (c *healthCommand) own(con *console) (string, *http.Client, error) {
	port, cert := con.getenv("PORT"), con.getenv("TLS_CERT")
	if port == "" {
		port = "8080"
	}
	if !validPort(port) {
		return "", nil, usagef("PORT = %q: want 0 to 65535", port)
	}
	if cert == "" {
		return "http://127.0.0.1:" + port, http.DefaultClient, nil
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		return "", nil, usagef("TLS_CERT: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", nil, usagef("TLS_CERT = %q: holds no certificate in PEM", cert)
	}
	return "https://127.0.0.1:" + port, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // the certificate itself is compared, below
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 || !bytes.Equal(chain[0], block.Bytes) {
				return errors.New("another certificate than that of TLS_CERT")
			}
			return nil
		},
	}}}, nil
}

// backendAddress is where a backend answers: as told, as the data directory of a
// running `up` tells, or the default.
func backendAddress(raw, dataDir string) (string, error) {
	switch {
	case raw != "" && dataDir != "":
		return "", usagef("--url and --data-dir: want one of them")
	case raw != "":
		u, err := url.Parse(raw)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
			return "", usagef("--url = %q: want http(s)://HOST[:PORT]", target.MaskURL(raw))
		}
		if u.User != nil {
			return "", usagef("--url = %q: want no user or password in it", target.MaskURL(raw))
		}
		return strings.TrimRight(raw, "/"), nil
	case dataDir == "":
		return "http://127.0.0.1:8080", nil
	}
	text, err := os.ReadFile(filepath.Join(dataDir, addressFile))
	if err != nil {
		return "", fmt.Errorf("--data-dir: nothing runs there: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
