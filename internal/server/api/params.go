package api

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/server/ledger"
)

const (
	defaultLimit  = 50
	maxLimit      = 10_000
	defaultWindow = time.Hour
	maxText       = 1000
	// maxMoment is the end of the year 9999, the last that RFC 3339 can say.
	maxMoment = 253_402_300_799
)

// params reads a request's query strictly: what is unknown, double or malformed is
// a 400 that names it.
type params struct {
	values url.Values
	now    int64 // microseconds
}

// read parses the query; only the given names are allowed, or all when open is
// true.
func (s *Server) params(r *http.Request, names ...string) (*params, error) {
	p, err := s.anyParams(r)
	if err != nil {
		return nil, err
	}
	for _, name := range p.names() {
		if !slices.Contains(names, name) {
			return nil, badParameter(name, p.values.Get(name), unknownParameter(names))
		}
	}
	return p, nil
}

func unknownParameter(names []string) string {
	if len(names) == 0 {
		return "unknown parameter; none is taken here"
	}
	return "unknown parameter; known are " + strings.Join(names, ", ")
}

// anyParams leaves it to the caller which names are allowed.
func (s *Server) anyParams(r *http.Request) (*params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParameter("query", r.URL.RawQuery, err.Error())
	}
	p := &params{values: values, now: s.now().UnixMicro()}
	for _, name := range p.names() {
		if len(values[name]) > 1 {
			return nil, badParameter(name, strings.Join(values[name], ", "), "given more than once")
		}
		if v := values[name][0]; strings.ContainsRune(v, 0) || !validText(v) {
			return nil, badParameter(name, strings.ToValidUTF8(v, "?"), "not a text in UTF-8 without zero bytes")
		}
	}
	return p, nil
}

func validText(s string) bool { return strings.ToValidUTF8(s, "") == s }

func (p *params) names() []string {
	out := make([]string, 0, len(p.values))
	for name := range p.values {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (p *params) has(name string) bool { return len(p.values[name]) > 0 }

// filter gives a parameter that narrows an answer; to leave it out is to ask for all, and
// an empty one asks for nothing that there is.
func (p *params) filter(name string) (string, error) {
	if p.has(name) && p.values.Get(name) == "" {
		return "", badParameter(name, "", "is empty; leave it out to get all")
	}
	return p.text(name)
}

// text gives a parameter of bounded length; a label may be empty.
func (p *params) text(name string) (string, error) {
	v := p.values.Get(name)
	if len(v) > maxText {
		return "", badParameter(name, v, fmt.Sprintf("at most %d bytes", maxText))
	}
	return v, nil
}

// integer gives a whole number within bounds.
func (p *params) integer(name string, otherwise, least, most int64) (int64, error) {
	if !p.has(name) {
		return otherwise, nil
	}
	v := p.values.Get(name)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badParameter(name, v, fmt.Sprintf("want a whole number from %d to %d", least, most))
	}
	return n, nil
}

func (p *params) limit() (int, error) {
	n, err := p.integer("limit", defaultLimit, 1, maxLimit)
	return int(n), err
}

// instance gives the id of the parameter instance, 0 when there is none.
func (p *params) instance() (int64, error) {
	if !p.has("instance") {
		return 0, nil
	}
	return parseID("instance", p.values.Get("instance"))
}

func parseID(name, value string) (int64, error) {
	id, err := strconv.ParseInt(value, 10, 64)
	if err != nil || id <= 0 || strconv.FormatInt(id, 10) != value {
		return 0, badParameter(name, value, "want the id of an instance, as GET /api/v1/instances gives it")
	}
	return id, nil
}

// span is a window as it was asked for, and the part of it that is past: From <
// tick <= Past.
type span struct {
	From, To int64 // microseconds
	Now      int64
}

// window is the part of the span that ticks can lie in.
func (s span) window() ledger.Window {
	return ledger.Window{From: s.From, To: max(s.From, min(s.To, s.Now))}
}

// span reads from and to.
func (p *params) span() (span, error) {
	s := span{To: p.now, Now: p.now}
	var err error
	if p.has("to") {
		if s.To, err = moment("to", p.values.Get("to")); err != nil {
			return s, err
		}
	}
	s.From = s.To - defaultWindow.Microseconds()
	if p.has("from") {
		if s.From, err = moment("from", p.values.Get("from")); err != nil {
			return s, err
		}
	}
	if s.From >= s.To {
		to := "now"
		if p.has("to") {
			to = p.values.Get("to")
		}
		return s, badParameter("from", p.values.Get("from"), fmt.Sprintf("must be before to (%s)", to))
	}
	return s, nil
}

// moment reads RFC 3339 or Unix seconds, with up to six decimals, as microseconds.
func moment(name, v string) (int64, error) {
	if us, ok := unixSeconds(v); ok {
		if us < 0 || us > maxMoment*1_000_000 {
			return 0, badParameter(name, v, "want a time between the years 1970 and 9999")
		}
		return us, nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		want := "want RFC 3339 (2026-11-24T10:00:00Z) or Unix seconds"
		if strings.Contains(v, "T") && strings.Contains(v, " ") {
			want += `; a "+" is written %2B`
		}
		return 0, badParameter(name, v, want)
	}
	if t.Year() < 1970 || t.Year() > 9999 {
		return 0, badParameter(name, v, "want a time between the years 1970 and 9999")
	}
	return t.UnixMicro(), nil
}

func unixSeconds(v string) (int64, bool) {
	whole, decimals, point := strings.Cut(v, ".")
	negative := strings.HasPrefix(whole, "-")
	whole = strings.TrimPrefix(whole, "-")
	if !digits(whole) || len(whole) > 12 || point && (!digits(decimals) || len(decimals) > 9) {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, false
	}
	n *= 1_000_000
	if point {
		us, err := strconv.ParseInt((decimals + "000000")[:6], 10, 64)
		if err != nil {
			return 0, false
		}
		n += us
	}
	if negative {
		n = -n
	}
	return n, true
}

func digits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// stepOf reads step in seconds; otherwise is its default in microseconds. The window
// may hold at most maxLimit steps.
func (p *params) step(s span, otherwise int64) (int64, error) {
	if !p.has("step") {
		return otherwise, nil
	}
	seconds, err := p.integer("step", 0, 1, math.MaxInt32)
	if err != nil {
		return 0, err
	}
	step := seconds * 1_000_000
	if (s.To-s.From)/step >= maxLimit {
		return 0, badParameter("step", p.values.Get("step"), fmt.Sprintf("the window would have more than %d steps", maxLimit))
	}
	return step, nil
}
