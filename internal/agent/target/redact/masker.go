package redact

import "strings"

// masker goes through a text once. Positions are bytes; everything it decides on is
// ASCII, so it never cuts a character in two.
type masker struct {
	s, low string
	out    strings.Builder
	copied int // s[:copied] is in out, masked
}

func (m *masker) result() string {
	if m.copied == 0 && m.out.Len() == 0 {
		return m.s
	}
	m.out.WriteString(m.s[m.copied:])
	return m.out.String()
}

// hide masks s[from:to].
func (m *masker) hide(from, to int) {
	if from >= to || from < m.copied || m.s[from:to] == mask {
		return
	}
	m.out.WriteString(m.s[m.copied:from])
	m.out.WriteString(mask)
	m.copied = to
}

// code masks in SQL. Values there are literals; what follows a name without quotes
// is an expression, unless a parameter is SET.
func (m *masker) code(i, end int) {
	for i < end {
		c := m.s[i]
		switch {
		case c == '\'':
			i = m.literal(i, end)
		case c == '"':
			i = m.quoted(i, end)
		case strings.HasPrefix(m.s[i:end], "--"):
			stop := index(m.s, i, end, "\n")
			m.prose(i+2, stop)
			i = stop
		case strings.HasPrefix(m.s[i:end], "/*"):
			stop := index(m.s, i+2, end, "*/")
			m.prose(i+2, stop)
			i = min(stop+2, end)
		case c == '$':
			i = m.dollar(i, end)
		case isIdent(c):
			j := i
			for j < end && (isIdent(m.s[j]) || m.s[j] == '.' || m.s[j] == '$') {
				j++
			}
			if names(m.low[i:j]) {
				j = m.after(i, j, end, inCode)
			}
			i = j
		default:
			i++
		}
	}
}

// literal masks within a string constant that opens at i, and gives what follows it.
func (m *masker) literal(i, end int) int {
	escapes := i > 0 && m.low[i-1] == 'e' && (i == 1 || !isIdent(m.s[i-2]))
	j := i + 1
	for j < end {
		switch {
		case escapes && m.s[j] == '\\':
			j += 2
			continue
		case m.s[j] != '\'':
			j++
			continue
		case j+1 < end && m.s[j+1] == '\'':
			j += 2
			continue
		}
		break
	}
	j = min(j, end)
	if next := m.within(i+1, j, end); next > j {
		return next // a secret's value reached beyond it
	}
	return min(j+1, end)
}

// quoted masks what follows a quoted identifier that opens at i, if it names a
// secret.
func (m *masker) quoted(i, end int) int {
	j := index(m.s, i+1, end, `"`)
	if names(m.low[i+1 : j]) {
		return m.after(i+1, j, end, inCode)
	}
	return min(j+1, end)
}

// dollar masks within a dollar-quoted string, which mostly holds SQL again.
func (m *masker) dollar(i, end int) int {
	tag, ok := dollarTag(m.s[i:end])
	if !ok {
		return i + 1
	}
	stop := index(m.s, i+len(tag), end, tag)
	if body := strings.TrimLeft(m.low[i+len(tag):stop], " \t\r\n"); isConninfo(body) {
		m.prose(i+len(tag), stop)
	} else {
		m.code(i+len(tag), stop)
	}
	return min(stop+len(tag), end)
}

// dollarTag gives the $tag$ that s begins with.
func dollarTag(s string) (string, bool) {
	for j := 1; j < len(s); j++ {
		switch {
		case s[j] == '$':
			return s[:j+1], true
		case !isIdent(s[j]), j == 1 && '0' <= s[j] && s[j] <= '9':
			return "", false
		}
	}
	return "", false
}

// isConninfo: it begins with name = or is a URL.
func isConninfo(s string) bool {
	i := 0
	for i < len(s) && isIdent(s[i]) {
		i++
	}
	rest := strings.TrimLeft(s[i:], " \t")
	return i > 0 && (strings.HasPrefix(rest, "=") || strings.HasPrefix(rest, "://"))
}

// prose masks in what is no SQL: connection strings, commands, comments.
func (m *masker) prose(i, end int) { m.within(i, end, end) }

// within masks in s[i:end], which is no SQL; a value may reach up to limit, since
// what looks like the end of a literal may be a part of its value. It gives what
// follows the last thing seen.
func (m *masker) within(i, end, limit int) int {
	for i < end {
		c := m.s[i]
		switch {
		case strings.HasPrefix(m.s[i:end], "://"):
			i = m.authority(i+3, end)
		case c == '-' && (i == 0 || isSpace(m.s[i-1])):
			i = m.user(i, end)
		case isIdent(c):
			j := i
			for j < end && (isIdent(m.s[j]) || m.s[j] == '.' || m.s[j] == '-') {
				j++
			}
			switch word := m.low[i:j]; {
			case word == "bearer" || word == "basic":
				j = m.bare(m.space(j, end), end)
			case names(word):
				j = m.after(i, j, limit, inProse)
			}
			i = j
		default:
			i++
		}
	}
	return i
}

// user masks the password in -u user:password, as curl has it, if that stands at i.
func (m *masker) user(i, end int) int {
	option := ""
	for _, o := range []string{"-u", "--user", "--proxy-user"} {
		if strings.HasPrefix(m.s[i:end], o) && i+len(o) < end && (isSpace(m.s[i+len(o)]) || m.s[i+len(o)] == '=') {
			option = o
		}
	}
	if option == "" {
		return i + 1
	}
	j := m.space(i+len(option)+1, end)
	stop, colon := j, -1
	for stop < end && !isSpace(m.s[stop]) {
		if m.s[stop] == ':' && colon < 0 {
			colon = stop
		}
		stop++
	}
	if colon >= 0 {
		for stop > colon+1 && (m.s[stop-1] == '\'' || m.s[stop-1] == '"') {
			stop--
		}
		m.hide(colon+1, stop)
	}
	return stop
}

// authority masks the password in user:password@host at i.
func (m *masker) authority(i, end int) int {
	colon, j := -1, i
	for j < end && !isSpace(m.s[j]) && m.s[j] != '/' && m.s[j] != '\'' && m.s[j] != '"' {
		if m.s[j] == ':' && colon < 0 {
			colon = j
		}
		j++
	}
	if at := strings.LastIndexByte(m.s[i:j], '@'); at >= 0 && colon >= 0 && colon < i+at {
		m.hide(colon+1, i+at)
		return i + at
	}
	return i
}

type place int

const (
	inCode  place = iota
	inProse       // a literal, a comment, a setting
)

// after masks the value of the secret whose name is s[start:i], if a value follows,
// and gives what comes after it.
func (m *masker) after(start, i, end int, where place) int {
	k, closed := i, 0
	if k < end && m.s[k] == '"' {
		k, closed = k+1, 1
	} else if n := m.quotes(k, end); n > 0 {
		k, closed = k+n, n
	}
	k = m.space(k, end)
	sep := ""
	for _, try := range []string{":=", "=>", "=", ":", ","} {
		if strings.HasPrefix(m.s[k:end], try) && (try != "," || closed > 0) {
			sep = try
			break
		}
	}
	if sep == "" && where == inCode && strings.HasPrefix(m.low[k:end], "to") && k+2 < end && isSpace(m.s[k+2]) {
		sep = "to"
	}
	if sep == "" && closed > 0 && m.s[i] == '\'' {
		return i // the end of a literal that ends with the word
	}
	option := where == inProse && sep == "" && start > 0 && m.s[start-1] == '-' && k > i
	k = m.space(k+len(sep), end)
	if k >= end {
		return min(i+closed, end)
	}
	v := k
	for _, prefix := range []string{"e'", "n'", "b'", "x'", "u&'"} {
		if strings.HasPrefix(m.low[v:end], prefix) {
			v += len(prefix) - 1
		}
	}
	switch n := m.quotes(v, end); {
	case n == 1 && where == inProse && sep == "":
		return i // closes the literal that we are in
	case n > 0:
		return m.string(v, n, end)
	case m.s[v] == '$':
		if tag, ok := dollarTag(m.s[v:end]); ok {
			stop := index(m.s, v+len(tag), end, tag)
			m.hide(v+len(tag), stop)
			return min(stop+len(tag), end)
		}
		return v + 1 // $1
	case strings.HasPrefix(m.s[v:end], `\'`):
		stop := index(m.s, v+2, end, `\'`)
		m.hide(v+2, stop)
		return min(stop+2, end)
	case m.s[v] == '"' && sep != "" && where == inProse:
		stop := v + 1
		for stop < end && m.s[stop] != '"' {
			if m.s[stop] == '\\' {
				stop++
			}
			stop++
		}
		stop = min(stop, end)
		m.hide(v+1, stop)
		return min(stop+1, end)
	case where == inProse && (option || sep != "" && sep != ","):
		return m.bare(v, end)
	case where == inCode && sep != "" && strings.Contains(m.s[start:i], ".") && m.isSet(start):
		return m.bare(v, end)
	}
	return i
}

// string masks a string constant whose n quotes open at i: one, or more of them
// when it lies within another. Constants that continue on the next line belong to
// it. It gives what follows.
func (m *masker) string(i, n, end int) int {
	from := i + n
	j := from
	for j < end {
		switch {
		case m.s[j] == '\\':
			j += 2 // also where it is no escape: better too much
			continue
		case m.s[j] != '\'':
			j++
			continue
		}
		run := m.quotes(j, end)
		if run < n || run%(2*n) == 0 {
			j += run
			continue
		}
		m.hide(from, j)
		next := m.space(j+n, end)
		if strings.ContainsAny(m.s[j+n:next], "\n\r") && m.quotes(next, end) >= n {
			return m.string(next, n, end)
		}
		return j + n
	}
	m.hide(from, end)
	return end
}

// bare masks a value without quotes, and gives what follows it.
func (m *masker) bare(i, end int) int {
	j := i
	for j < end && !isSpace(m.s[j]) && m.s[j] != '\'' && m.s[j] != '"' && m.s[j] != '&' {
		if m.s[j] == '\\' {
			j++
		}
		j++
	}
	j = min(j, end)
	if scheme := m.low[i:j]; scheme == "bearer" || scheme == "basic" {
		return m.bare(m.space(j, end), end) // Authorization: Bearer …
	}
	m.hide(i, j)
	return j
}

// isSet: the name at start is the parameter of a SET.
func (m *masker) isSet(start int) bool {
	fields := strings.Fields(m.low[max(0, start-64):start])
	if n := len(fields); n > 0 && (fields[n-1] == "local" || fields[n-1] == "session") {
		fields = fields[:n-1]
	}
	return len(fields) > 0 && fields[len(fields)-1] == "set"
}

// quotes counts the single quotes at i.
func (m *masker) quotes(i, end int) int {
	n := 0
	for i+n < end && m.s[i+n] == '\'' {
		n++
	}
	return n
}

// space skips white space and comments.
func (m *masker) space(i, end int) int {
	for i < end {
		switch {
		case isSpace(m.s[i]):
			i++
		case strings.HasPrefix(m.s[i:end], "/*"):
			i = min(index(m.s, i+2, end, "*/")+2, end)
		case strings.HasPrefix(m.s[i:end], "--"):
			i = index(m.s, i, end, "\n")
		default:
			return i
		}
	}
	return min(i, end)
}

// index is the position of what in s[i:end], end when it isn't there.
func index(s string, i, end int, what string) int {
	if i >= end {
		return end
	}
	if k := strings.Index(s[i:end], what); k >= 0 {
		return i + k
	}
	return end
}
