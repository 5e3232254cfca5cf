package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/server"
	"github.com/pganalytics/pganalytics/internal/server/api"
	"github.com/pganalytics/pganalytics/internal/server/ratelimit"
	"github.com/pganalytics/pganalytics/web"
)

type backendCommand struct {
	Retention string `help:"How long data is kept, at least 1d." default:"14d" placeholder:"TIME"`
}

// Help is shown with --help.
func (*backendCommand) Help() string {
	return `From the environment:
  DATABASE_URL     configuration and sessions; TIMESCALE_URL when only that is set
  TIMESCALE_URL    metrics; DATABASE_URL when only that is set
  LISTEN, PORT     where to listen (127.0.0.1, 8080)
  TLS_CERT, TLS_KEY  files in PEM; both or none
  LOG_LEVEL        debug, info, warn or error (info)        LOG_FORMAT  text or json (text)
  PGANALYTICS_API_TOKEN_FILE, PGANALYTICS_REGISTRATION_TOKEN_FILE
                   one line each; made with mode 0600 when missing
  PGANALYTICS_RATE_PUSH, PGANALYTICS_RATE_REGISTER, PGANALYTICS_RATE_SIGN_IN
                   how often a collector may push ("20/s burst 200"), an address register collectors
                   ("10/s burst 500") and sign in ("1/s burst 20"); off for no limit`
}

// Run serves until it is told to end.
func (c *backendCommand) Run(ctx context.Context, con *console) error {
	o := backendOptions{apiTokenFile: con.getenv("PGANALYTICS_API_TOKEN_FILE"), registrationTokenFile: con.getenv("PGANALYTICS_REGISTRATION_TOKEN_FILE"),
		certFile: con.getenv("TLS_CERT"), keyFile: con.getenv("TLS_KEY")}
	var err error
	if o.metricsURL, o.appURL, err = databases(con); err != nil {
		return err
	}
	if (o.certFile == "") != (o.keyFile == "") {
		return usagef("TLS_CERT = %q, TLS_KEY = %q: want both or none", o.certFile, o.keyFile)
	}
	if o.limits, err = rateLimits(con); err != nil {
		return err
	}
	if o.retention, err = parseTime("--retention", c.Retention, 24*time.Hour, 3650*24*time.Hour); err != nil {
		return err
	}
	if o.log, err = newLog(con.stdout, con.setting("LOG_LEVEL"), con.setting("LOG_FORMAT")); err != nil {
		return err
	}
	host, port := con.getenv("LISTEN"), con.getenv("PORT")
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "8080"
	}
	if !validPort(port) {
		return usagef("PORT = %q: want 0 to 65535", port)
	}
	for _, f := range []*string{&o.apiTokenFile, &o.registrationTokenFile} {
		if *f != "" {
			continue
		}
		dir, err := defaultDataDir(con)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return usagef("PGANALYTICS_API_TOKEN_FILE is not set, and its default can't be made: %w", err)
		}
		*f = filepath.Join(dir, map[bool]string{true: tokenFile, false: registrationFile}[f == &o.apiTokenFile])
	}
	if o.listener, err = net.Listen("tcp", net.JoinHostPort(host, port)); err != nil {
		return fmt.Errorf("LISTEN, PORT: %w", err)
	}
	defer o.listener.Close()
	defer outliveReader()()
	stages := newStages(ctx, grace)
	if _, err := startBackend(stages, o); err != nil {
		stages.stop(err)
	}
	err = stages.wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// databases gives TIMESCALE_URL and DATABASE_URL; one that is not set is the other.
func databases(con *console) (metricsURL, appURL string, err error) {
	for _, v := range []struct {
		name string
		url  *string
	}{{"DATABASE_URL", &appURL}, {"TIMESCALE_URL", &metricsURL}} {
		if *v.url = con.getenv(v.name); *v.url != "" && !databaseURL(*v.url) {
			return "", "", usagef("%s = %q: want postgres://USER:PASSWORD@HOST:PORT/DATABASE", v.name, target.MaskURL(*v.url))
		}
	}
	metricsURL, appURL = cmp.Or(metricsURL, appURL), cmp.Or(appURL, metricsURL)
	if appURL == "" {
		return "", "", usagef("DATABASE_URL is missing: want postgres://USER:PASSWORD@HOST:PORT/DATABASE (and TIMESCALE_URL, if the metrics are in another database)")
	}
	return metricsURL, appURL, nil
}

// databaseURL says whether the store's driver can make something of a URL. Its own
// error is not shown, as it may quote the password.
func databaseURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Opaque != "" {
		return false
	}
	_, err = pgxpool.ParseConfig(raw)
	return err == nil
}

// Variables of rateLimits.
const (
	ratePush     = "PGANALYTICS_RATE_PUSH"
	rateRegister = "PGANALYTICS_RATE_REGISTER"
	rateSignIn   = "PGANALYTICS_RATE_SIGN_IN"
)

// rateLimits are the defaults where the environment says nothing.
func rateLimits(con *console) (api.Limits, error) {
	l := api.DefaultLimits
	for _, v := range []struct {
		name string
		into *ratelimit.Limit
	}{{ratePush, &l.Push}, {rateRegister, &l.Register}, {rateSignIn, &l.SignIn}} {
		text := con.getenv(v.name)
		if text == "" {
			continue
		}
		limit, err := ratelimit.Parse(text)
		if err != nil {
			return l, usagef("%s = %w", v.name, err)
		}
		*v.into = limit
	}
	return l, nil
}

type backendOptions struct {
	metricsURL, appURL                  string
	listener                            net.Listener
	certFile, keyFile                   string
	apiTokenFile, registrationTokenFile string
	retention                           time.Duration
	limits                              api.Limits
	log                                 *slog.Logger
	startup                             *startup
	storeHealth                         func() error
	demo                                bool
}

// backend is a running backend.
type backend struct{ *server.Backend }

// startBackend runs the server as a stage.
func startBackend(stages *stages, o backendOptions) (*backend, error) {
	cfg := server.Config{
		Version: Version, MetricsURL: o.metricsURL, AppURL: o.appURL, Listener: o.listener, Retention: o.retention,
		APITokenFile: o.apiTokenFile, RegistrationTokenFile: o.registrationTokenFile, Demo: o.demo, Limits: o.limits,
		UI: web.Handler(), StoreHealth: o.storeHealth, Log: o.log,
	}
	if !web.Built() {
		cfg.UIDetail = "this program was built without the page: make ui, then make build"
	}
	if o.startup != nil {
		cfg.Startup = o.startup.report
	}
	if o.certFile != "" {
		pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, usagef("TLS_CERT, TLS_KEY: %w", err)
		}
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	b, err := server.New(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	stages.run("backend", b.Run)
	return &backend{b}, nil
}

// signInLink is the fragment's token of the one-time link.
func (b *backend) signInLink() string { return b.SignInToken().Reveal() }

// client answers requests in this process, without a network.
func (b *backend) client() *http.Client {
	return &http.Client{Transport: inProcess{b.Handler()}, Timeout: 60 * time.Second}
}

// waitReady waits until the store is prepared, so that what follows does not begin
// with refusals; a store that needs longer gets it (false) while the collector spools.
func (b *backend) waitReady(ctx context.Context) (bool, error) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if b.Ready() {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false, nil
}
