package target_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key.
func certificate(t testing.TB, dir string, account pgserver.Account) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := account.Own(file); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	account, err := pgserver.RunAs()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "pganalytics-tls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t, dir, account)
	s := pgtest.Private(t, pgtest.StoreMajor(t), "ssl=on", "ssl_cert_file="+cert, "ssl_key_file="+key)
	pgtest.Exec(t, s.URL("postgres"), "CREATE EXTENSION pg_stat_statements")
	with := func(params string) string {
		u, err := url.Parse(s.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = params
		return u.String()
	}
	for _, params := range []string{"sslmode=verify-full&sslrootcert=" + cert, ""} {
		tg := newTarget(t, with(params))
		facts := contact(t, tg)
		for range 3 {
			got, stats := read(t, tg, "postgres", catalog.Slow, planned(facts, "postgres", catalog.Slow))
			arrived(t, got)
			if stats.RoundTrips != 1 {
				t.Errorf("%q: %d round trips", params, stats.RoundTrips)
			}
		}
		var encrypted int
		conn := pgtest.Connect(t, s.URL("postgres"))
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'pganalytics'").Scan(&encrypted); err != nil || encrypted != 1 {
			t.Errorf("%q: %d encrypted connections, %v", params, encrypted, err)
		}
		tg.Close()
		time.Sleep(50 * time.Millisecond)
	}
	tg := newTarget(t, with("sslmode=verify-full")) // signed by nobody we know
	if _, err := tg.Contact(t.Context()); target.ReasonOf(err) != "connect" || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}
