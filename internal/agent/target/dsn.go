package target

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// applicationName is the one startup parameter: poolers refuse others.
	applicationName = "pganalytics"
	// maxMessage bounds one protocol message: a hostile server must not make us
	// allocate without end. Statement texts are cut on the server at 16,384
	// characters, so nothing of ours comes near.
	maxMessage      = 4 << 20
	defaultDatabase = "postgres"
)

// urlKeys are the parameters of a URL that mean something here. options and the
// like are none: what a session needs is set in each Sync group.
var urlKeys = map[string]bool{
	"host": true, "port": true, "user": true, "password": true, "dbname": true, "passfile": true,
	"sslmode": true, "sslcert": true, "sslkey": true, "sslrootcert": true, "sslpassword": true,
	"sslcertmode": true, "sslnegotiation": true, "channel_binding": true, "require_auth": true,
	"connect_timeout": true,
}

var errURL = errors.New("want postgres://USER@HOST[:PORT]/DATABASE; special characters in a password are written as %XX")

// parseURL makes the connection settings of an instance's URL, with the defaults
// of reliability.md §5: TLS with a verified certificate off loopback, and there a
// password is given to nobody who can't do SCRAM. sslmode and require_auth in the
// URL win, with libpq's meanings; environment variables don't, save PGUSER,
// PGPASSWORD, PGPASSFILE and the files of certificates.
func parseURL(raw, password Secret) (*pgconn.Config, error) {
	// net/url's own errors quote what may be a part of the password.
	u, err := url.Parse(raw.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Fragment != "" || u.Opaque != "" {
		return nil, errURL
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errURL
	}
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if !urlKeys[key] {
			return nil, fmt.Errorf("parameter %q is not known here; known are %s", key, strings.Join(slices.Sorted(maps.Keys(urlKeys)), ", "))
		}
	}
	host := u.Hostname()
	if h := q.Get("host"); h != "" {
		host = h
	}
	if host == "" || strings.Contains(host, ",") || strings.Contains(u.Host, ",") {
		return nil, fmt.Errorf("%w: one host, an instance is one server", errURL)
	}
	if port := cmp.Or(q.Get("port"), u.Port(), "5432"); !isPort(port) {
		return nil, fmt.Errorf("port %q: want 1 to 65535", port)
	}
	local := isLocal(host)
	if !q.Has("sslmode") {
		q.Set("sslmode", "verify-full")
		if local {
			q.Set("sslmode", "prefer")
		}
	}
	if strings.Trim(u.Path, "/") == "" && q.Get("dbname") == "" {
		u.Path = "/" + defaultDatabase
	}
	u.RawQuery = q.Encode()
	c, err := pgconn.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errURL, cause(err))
	}
	if password != "" {
		c.Password = password.Reveal()
	}
	if !q.Has("require_auth") {
		c.RequireAuth = ""
		if !local && c.Password != "" {
			c.RequireAuth = "scram-sha-256"
		}
	}
	c.RuntimeParams = map[string]string{"application_name": applicationName}
	c.MaxProtocolMessageBodyLen = maxMessage
	c.ValidateConnect, c.AfterConnect = nil, nil
	c.DialFunc = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	return c, nil
}

// cause is the innermost error: pgconn's own text quotes the URL, masked on a
// best-effort basis only.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return errors.New("a parameter is not valid")
	}
	return err
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// isLocal: what is sent there leaves the machine only through a program on it.
func isLocal(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// chosen: globs choose databases by name, as path.Match does, except that "/" is a
// character like any other.
func chosen(globs []string, name string) bool {
	if len(globs) == 0 {
		return true
	}
	slash := strings.NewReplacer("/", "\x00")
	for _, g := range globs {
		if ok, err := path.Match(slash.Replace(g), slash.Replace(name)); ok && err == nil {
			return true
		}
	}
	return false
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteLiteral(s string) string {
	if strings.Contains(s, `\`) {
		return ` E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + `'`
	}
	return `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
}
