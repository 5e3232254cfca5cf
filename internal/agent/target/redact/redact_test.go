package redact_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pganalytics/pganalytics/internal/agent/target/redact"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"alter role", "ALTER ROLE app PASSWORD 'hunter2'", "ALTER ROLE app PASSWORD '***'"},
		{"create user", "create user app with encrypted password 'md5abc' valid until '2030-01-01'", "create user app with encrypted password '***' valid until '2030-01-01'"},
		{"doubled quote", "ALTER USER a PASSWORD 'hun''ter2' LOGIN", "ALTER USER a PASSWORD '***' LOGIN"},
		{"escape string", `ALTER USER a PASSWORD E'hun\'ter2' LOGIN`, `ALTER USER a PASSWORD E'***' LOGIN`},
		{"unicode string", `ALTER USER a PASSWORD U&'d\0061t' LOGIN`, `ALTER USER a PASSWORD U&'***' LOGIN`},
		{"dollar quotes", "ALTER USER a PASSWORD $x$hun$ter'2$x$ LOGIN", "ALTER USER a PASSWORD $x$***$x$ LOGIN"},
		{"continued", "ALTER USER a PASSWORD 'hun'\n  'ter2' LOGIN", "ALTER USER a PASSWORD '***'\n  '***' LOGIN"},
		{"comment between", "ALTER USER a PASSWORD /* x */ 'hunter2'", "ALTER USER a PASSWORD /* x */ '***'"},
		{"line comment between", "ALTER USER a PASSWORD-- x\n'hunter2'", "ALTER USER a PASSWORD-- x\n'***'"},
		{"cut", "ALTER USER a PASSWORD 'hunt", "ALTER USER a PASSWORD '***"},
		{"cut dollar", "ALTER USER a PASSWORD $$hunt", "ALTER USER a PASSWORD $$***"},
		{"replaced by the server", "ALTER USER a PASSWORD $1 VALID UNTIL $2", "ALTER USER a PASSWORD $1 VALID UNTIL $2"},
		{"null", "ALTER USER a PASSWORD NULL", "ALTER USER a PASSWORD NULL"},
		{"user mapping", "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'x', password 'hunter2')", "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'x', password '***')"},
		{"setting with a short name", `ALTER DATABASE d SET dblink.pw = 'hunter2'`, `ALTER DATABASE d SET dblink.pw = '***'`},
		{"setting that ends in pass", `SET app.db_pass TO 'hunter2'`, `SET app.db_pass TO '***'`},
		{"no short name", `SET app.bypass = 'always'; SELECT pw FROM t WHERE bypass = 'yes'`, `SET app.bypass = 'always'; SELECT pw FROM t WHERE bypass = 'yes'`},
		{"user mapping quoted", `ALTER USER MAPPING FOR a SERVER s OPTIONS (SET "password" 'hunter2', ADD sslpassword 'hunter3')`, `ALTER USER MAPPING FOR a SERVER s OPTIONS (SET "password" '***', ADD sslpassword '***')`},
		{"subscription", "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2 dbname=d' PUBLICATION p", "CREATE SUBSCRIPTION s CONNECTION 'host=h password=*** dbname=d' PUBLICATION p"},
		{"subscription, spaces", "ALTER SUBSCRIPTION s CONNECTION 'password = hunter2'", "ALTER SUBSCRIPTION s CONNECTION 'password = ***'"},
		{"subscription, quoted value", "ALTER SUBSCRIPTION s CONNECTION 'password=''hunt er2'' host=h'", "ALTER SUBSCRIPTION s CONNECTION 'password=''***'' host=h'"},
		{"subscription, escaped quotes", `ALTER SUBSCRIPTION s CONNECTION E'password=\'hunt er2\' host=h'`, `ALTER SUBSCRIPTION s CONNECTION E'password=\'***\' host=h'`},
		{"subscription, dollar", "ALTER SUBSCRIPTION s CONNECTION $$host=h password=hunter2$$", "ALTER SUBSCRIPTION s CONNECTION $$host=h password=***$$"},
		{"subscription, url", "ALTER SUBSCRIPTION s CONNECTION 'postgres://app:hunter2@h/d'", "ALTER SUBSCRIPTION s CONNECTION 'postgres://app:***@h/d'"},
		{"subscription, url parameter", "ALTER SUBSCRIPTION s CONNECTION 'postgres://h/d?user=a&password=hunter2&x=1'", "ALTER SUBSCRIPTION s CONNECTION 'postgres://h/d?user=a&password=***&x=1'"},
		{"url without password", "ALTER SUBSCRIPTION s CONNECTION 'postgres://app@h:5432/d'", "ALTER SUBSCRIPTION s CONNECTION 'postgres://app@h:5432/d'"},
		{"dblink in a body", "DO $$ BEGIN PERFORM dblink_connect('host=h password=hunter2'); END $$", "DO $$ BEGIN PERFORM dblink_connect('host=h password=***'); END $$"},
		{"dynamic SQL", "DO $do$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''hunter2'' LOGIN'; END $do$", "DO $do$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''***'' LOGIN'; END $do$"},
		{"dynamic SQL at the end", "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''hunter2'''; PERFORM f('x'); END $$", "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''***'''; PERFORM f('x'); END $$"},
		{"set", "SET app.jwt_secret = 'hunter2'", "SET app.jwt_secret = '***'"},
		{"set to", "ALTER DATABASE d SET app.api_key TO 'hunter2'", "ALTER DATABASE d SET app.api_key TO '***'"},
		{"set bare", "SET LOCAL app.secret TO hunter2", "SET LOCAL app.secret TO ***"},
		{"set_config", "DO $$ BEGIN PERFORM set_config('app.secret', 'hunter2', false); END $$", "DO $$ BEGIN PERFORM set_config('app.secret', '***', false); END $$"},
		{"alter system", "ALTER SYSTEM SET primary_conninfo = 'host=h password=hunter2'", "ALTER SYSTEM SET primary_conninfo = 'host=h password=***'"},
		{"json", `DO $$ BEGIN PERFORM f('{"password": "hun\"ter2", "a": 1}'); END $$`, `DO $$ BEGIN PERFORM f('{"password": "***", "a": 1}'); END $$`},
		{"program", "COPY t FROM PROGRAM 'curl -H \"Authorization: Bearer hunter2\" https://u:hunter3@h/'", "COPY t FROM PROGRAM 'curl -H \"Authorization: Bearer ***\" https://u:***@h/'"},
		{"comment", "SELECT 1 /* password=hunter2 */", "SELECT 1 /* password=*** */"},
		{"comment to the end", "SELECT 1 -- password: hunter2\n, 2", "SELECT 1 -- password: ***\n, 2"},
		{"expressions stay", "SELECT password FROM users WHERE password = crypt($1, password) AND token IS NOT NULL", "SELECT password FROM users WHERE password = crypt($1, password) AND token IS NOT NULL"},
		{"update stays", "UPDATE users SET password = EXCLUDED.password, u = 'x'", "UPDATE users SET password = EXCLUDED.password, u = 'x'"},
		{"columns stay", `CREATE TABLE users ("password" text NOT NULL, name text DEFAULT 'x')`, `CREATE TABLE users ("password" text NOT NULL, name text DEFAULT 'x')`},
		{"literal that ends with the word", "RAISE NOTICE 'wrong password'; SELECT 'x'", "RAISE NOTICE 'wrong password'; SELECT 'x'"},
		{"literal that ends with the word and a space", "SELECT 'password ', 'x'", "SELECT 'password ', 'x'"},
		{"harmless", "SET password_encryption = 'scram-sha-256'", "SET password_encryption = 'scram-sha-256'"},
		{"quote in a comment", "SELECT 1 -- don't\n; ALTER ROLE a PASSWORD 'hunter2'", "SELECT 1 -- don't\n; ALTER ROLE a PASSWORD '***'"},
		{"not ASCII", "ALTER ROLE ä PASSWORD 'gehëim' -- ü", "ALTER ROLE ä PASSWORD '***' -- ü"},
		{"nothing", "SELECT count(*) FROM pgbench_accounts WHERE aid = $1", "SELECT count(*) FROM pgbench_accounts WHERE aid = $1"},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := redact.Text(c.in); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"primary_conninfo", "user=rep password=hunter2 host=h", "user=rep password=*** host=h"},
		{"primary_conninfo", "user=rep password='hun ter2' host=h", "user=rep password='***' host=h"},
		{"primary_conninfo", `password='hun\'ter2' host=h`, `password='***' host=h`},
		{"primary_conninfo", `password=hun\ ter2 host=h`, `password=*** host=h`},
		{"primary_conninfo", "postgres://rep:hunter2@h:5432/d?x=y", "postgres://rep:***@h:5432/d?x=y"},
		{"archive_command", "PGPASSWORD=hunter2 cp %p /a", "PGPASSWORD=*** cp %p /a"},
		{"restore_command", "curl -u user:hunter2 https://h/%f -o %p", "curl -u user:*** https://h/%f -o %p"},
		{"restore_command", "curl --user 'user:hunter2' -s https://h/%f", "curl --user 'user:***' -s https://h/%f"},
		{"archive_command", "rsync -u %p host:/archive/%f", "rsync -u %p host:/archive/%f"},
		{"archive_command", "push --password hunter2 --secret-key=hunter3 %p", "push --password *** --secret-key=*** %p"},
		{"archive_command", "AWS_SECRET_ACCESS_KEY=hunter2 aws s3 cp %p s3://b/%f", "AWS_SECRET_ACCESS_KEY=*** aws s3 cp %p s3://b/%f"},
		{"app.settings.jwt_secret", "hunter2", "***"},
		{"app.password", "hunter2", "***"},
		{"app.password", "", ""},
		{"ssl_passphrase_command", "echo hunter2", "***"},
		{"password_encryption", "scram-sha-256", "scram-sha-256"},
		{"credcheck.password_min_length", "12", "12"},
		{"ssl_passphrase_command_supports_reload", "off", "off"},
		{"log_line_prefix", "%m [%p] ", "%m [%p] "},
		{"search_path", `"$user", public`, `"$user", public`},
	} {
		got, changed := redact.Value(c.name, c.in)
		if got != c.want || changed != (c.in != c.want) {
			t.Errorf("%s = %s: got %s, changed %t; want %s", c.name, c.in, got, changed, c.want)
		}
	}
}

// Whatever stands around it, a password given in one of these ways is masked.
func FuzzPasswordIsMasked(f *testing.F) {
	f.Add("SELECT 1; ", "hunter2", "; SELECT 'x'")
	f.Add("", "a'b\\c", "")
	f.Add("/* don't */ ", "$$ x", " LOGIN")
	f.Add("CREATE ROLE \"it's\" ", "päss", "\n-- end")
	f.Fuzz(func(t *testing.T, before, secret, after string) {
		secret = "zq" + secret + "qz" // to be told from what stands around it
		if strings.Contains(before, "zq") || strings.Contains(after, "zq") || strings.ContainsAny(secret, "\x00") {
			t.Skip("the secret could not be told from the text around it")
		}
		// A statement begins outside of any literal, comment or identifier.
		if strings.ContainsAny(before, `'"$/*-`) && !strings.HasPrefix(before, "/* don't */") {
			before = strings.NewReplacer(`'`, "", `"`, "", "$", "", "/", "", "*", "", "-", "").Replace(before)
		}
		plain := strings.NewReplacer(`\`, "", "\n", " ").Replace(secret)
		doubled := strings.ReplaceAll(plain, "'", "''")
		escaped := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secret)
		conn := strings.NewReplacer(`\`, "", "'", "", "\n", "").Replace(secret)
		for _, in := range []string{
			before + " ALTER ROLE a PASSWORD '" + doubled + "' " + after,
			before + " ALTER ROLE a PASSWORD E'" + escaped + "' " + after,
			before + " ALTER ROLE a PASSWORD $zt$" + strings.ReplaceAll(secret, "$", "") + "$zt$ " + after,
			before + " CREATE USER MAPPING OPTIONS (password '" + doubled + "') " + after,
			before + " CREATE SUBSCRIPTION s CONNECTION 'password=''" + conn + "''' " + after,
			before + " DO $do$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''" + strings.ReplaceAll(plain, "'", "''''") + "'''; END $do$ " + after,
		} {
			got := redact.Text(in)
			if strings.Contains(got, "zq") || strings.Contains(got, "qz") && !strings.Contains(before+after, "qz") {
				t.Errorf("%q shows it: %q", in, got)
			}
			if utf8.ValidString(in) && !utf8.ValidString(got) {
				t.Errorf("%q was cut within a character: %q", in, got)
			}
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add("ALTER ROLE a PASSWORD 'x'")
	f.Add("password=$password$ 'password' \"password\" E'\\")
	f.Add("://a:b@c --password /* '' */ u&'")
	f.Fuzz(func(t *testing.T, s string) {
		got := redact.Text(s)
		if again := redact.Text(got); len(got) < 1000 && strings.Count(again, "***") < strings.Count(got, "***") {
			t.Errorf("%q: %q, then %q", s, got, again)
		}
		value, changed := redact.Value("primary_conninfo", s)
		if changed != (value != s) {
			t.Errorf("%q: %q, changed %t", s, value, changed)
		}
	})
}
