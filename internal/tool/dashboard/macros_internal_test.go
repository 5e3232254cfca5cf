package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// expander does what Grafana does to a query before it sends it: the page puts in
// variables and the interval, the data source its macros, as the documentation of
// the PostgreSQL data source has them.
type expander struct {
	from, to  time.Time
	interval  time.Duration
	variables map[string]string
	timescale bool
}

var (
	variableRef = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$(__interval_ms|__interval|__from|__to)\b`)
	macroCall   = regexp.MustCompile(`\$([_a-zA-Z0-9]+)\(([^)]*)\)`)
)

func (e *expander) expand(sql string) (string, error) {
	var bad []string
	sql = variableRef.ReplaceAllStringFunc(sql, func(found string) string {
		m := variableRef.FindStringSubmatch(found)
		name, format := m[1]+m[3], m[2]
		value, known := map[string]string{
			"__interval_ms": strconv.FormatInt(e.interval.Milliseconds(), 10), "__interval": fmt.Sprintf("%dms", e.interval.Milliseconds()),
			"__from": strconv.FormatInt(e.from.UnixMilli(), 10), "__to": strconv.FormatInt(e.to.UnixMilli(), 10),
		}[name]
		if !known {
			value, known = e.variables[name]
		}
		switch {
		case !known:
			bad = append(bad, found+": no such variable")
		case format == "sqlstring":
			return "'" + strings.ReplaceAll(value, "'", "''") + "'"
		case format != "" && format != "raw":
			bad = append(bad, found+": unknown format")
		}
		return value
	})
	sql = macroCall.ReplaceAllStringFunc(sql, func(found string) string {
		m := macroCall.FindStringSubmatch(found)
		out, err := e.macro(m[1], strings.Split(m[2], ","))
		if err != nil {
			bad = append(bad, err.Error())
		}
		return out
	})
	if i := strings.Index(sql, "$_"); i >= 0 {
		bad = append(bad, "left over: "+sql[i:min(len(sql), i+30)])
	}
	if bad != nil {
		return "", fmt.Errorf("%s", strings.Join(bad, "; "))
	}
	return sql, nil
}

func (e *expander) macro(name string, args []string) (string, error) {
	for i := range args {
		args[i] = strings.TrimSpace(args[i])
	}
	at := func(t time.Time) string { return "'" + t.UTC().Format(time.RFC3339Nano) + "'" }
	switch name {
	case "__time":
		return args[0] + ` AS "time"`, nil
	case "__timeEpoch":
		return "extract(epoch from " + args[0] + `) as "time"`, nil
	case "__timeFilter":
		return fmt.Sprintf("%s BETWEEN %s AND %s", args[0], at(e.from), at(e.to)), nil
	case "__timeFrom":
		return at(e.from), nil
	case "__timeTo":
		return at(e.to), nil
	case "__timeGroup", "__timeGroupAlias":
		if len(args) < 2 {
			return "", fmt.Errorf("$%s needs a column and an interval", name)
		}
		step, err := time.ParseDuration(strings.Trim(args[1], "'"))
		if err != nil {
			return "", fmt.Errorf("$%s: %w", name, err)
		}
		out := fmt.Sprintf("floor(extract(epoch from %s)/%v)*%[2]v", args[0], step.Seconds())
		if e.timescale {
			out = fmt.Sprintf("time_bucket('%.3fs',%s)", step.Seconds(), args[0])
		}
		if name == "__timeGroupAlias" {
			out += ` AS "time"`
		}
		return out, nil
	case "__unixEpochFilter":
		return fmt.Sprintf("%s >= %d AND %[1]s <= %d", args[0], e.from.Unix(), e.to.Unix()), nil
	case "__unixEpochFrom":
		return strconv.FormatInt(e.from.Unix(), 10), nil
	case "__unixEpochTo":
		return strconv.FormatInt(e.to.Unix(), 10), nil
	}
	return "", fmt.Errorf("unknown macro $%s", name)
}
