// Package redact masks passwords and the like in texts that a server shows:
// statements (pg_stat_statements keeps the constants of utility statements),
// connection strings, settings.
//
// It looks for a word that names a secret and masks the value after it. It would
// rather mask too much: what it can't tell the end of is masked to the end.
package redact

import (
	"maps"
	"strings"
	"sync/atomic"
)

const mask = "***"

// words make an identifier that contains one of them the name of a secret.
var words = []string{"password", "passwd", "passphrase", "pwd", "secret", "token", "api_key", "apikey", "access_key", "private_key", "credential", "authorization"}

// harmless names contain such a word but hold no secret.
var harmless = map[string]bool{
	"password_encryption": true, "password_required": true, "ssl_passphrase_command_supports_reload": true,
	"md5_password_warnings": true, "scram_require_password": true,
}

// names reports whether an identifier, in lower case, is the name of a secret.
func names(ident string) bool {
	if harmless[ident] {
		return false
	}
	for _, w := range words {
		if strings.Contains(ident, w) {
			return true
		}
	}
	// Short ones only as the last word of a name: bypass and pwa are none.
	last := ident[strings.LastIndexAny(ident, "._")+1:]
	return last == "pw" || last == "pass"
}

// Text masks the secrets in a statement's text. Constants that the server replaced
// by $1 stay.
func Text(s string) string {
	if !suspicious(s) {
		return s
	}
	m := masker{s: s, low: lower(s)}
	m.code(0, len(s))
	return m.result()
}

// Value masks the secrets in a value: of a statement's text when name is "", else
// of the setting of that name, which may be a connection string, a command or, by
// its name, a secret itself. changed tells whether the result is new memory.
func Value(name, s string) (masked string, changed bool) {
	if name == "" {
		masked = Text(s)
		return masked, masked != s
	}
	if s == "" || plain(s) {
		return s, false
	}
	if isSecret(name) {
		return mask, true
	}
	if len(s) < 5 || !suspicious(s) {
		return s, false
	}
	m := masker{s: s, low: lower(s)}
	m.prose(0, len(s))
	masked = m.result()
	return masked, masked != s
}

// secrets remembers names for a while: a server has 350 settings, and is asked for
// them again and again.
var secrets atomic.Pointer[map[string]bool]

const maxRemembered = 4096

func isSecret(name string) bool {
	known := secrets.Load()
	if known != nil {
		if is, ok := (*known)[name]; ok {
			return is
		}
	}
	is := names(lower(name))
	next := map[string]bool{}
	if known != nil && len(*known) < maxRemembered {
		maps.Copy(next, *known)
	}
	next[strings.Clone(name)] = is
	secrets.Store(&next) // what another goroutine adds meanwhile is lost, and found again
	return is
}

// plain: a switch, or a number too short to be a secret, as in
// credcheck.password_min_length.
func plain(s string) bool {
	switch s {
	case "on", "off", "true", "false":
		return true
	}
	return len(s) <= 4 && strings.Trim(s, "0123456789") == ""
}

// suspicious is the quick look that most texts end with.
func suspicious(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		switch s[i] | 0x20 {
		case 'p':
			if b := s[i+1] | 0x20; b == 'a' || b == 'w' { // password, passphrase, pwd
				return true
			}
		case 's', 't', 'k', 'c', 'a', 'b': // secret, token, key, credential, authorization, bearer, basic
			switch strings.ToLower(s[i : i+3]) {
			case "sec", "tok", "key", "cre", "aut", "bea", "bas":
				return true
			}
		case '-': // -u user:password
			if b := s[i+1] | 0x20; b == 'u' || s[i+1] == '-' && (s[i+2]|0x20 == 'u' || s[i+2]|0x20 == 'p') {
				return true
			}
		case ':':
			if s[i:i+3] == "://" {
				return true
			}
		}
	}
	return false
}

// lower is ASCII lower case: of the same length, unlike strings.ToLower.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

func isIdent(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
