package check

import (
	"strconv"
	"strings"
	"time"
)

// sample is one line of Prometheus' text format.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// parseMetrics reads Prometheus' text format. Lines that it does not understand are
// left out: what is needed of them is then missing, which is told.
func parseMetrics(text string) []sample {
	var out []sample
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if s, ok := parseSample(line); ok {
			out = append(out, s)
		}
	}
	return out
}

func parseSample(line string) (s sample, ok bool) {
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 {
		return s, false
	}
	s.name, line = line[:end], line[end:]
	if line[0] == '{' {
		if s.labels, line, ok = parseLabels(line[1:]); !ok {
			return s, false
		}
	}
	fields := strings.Fields(line) // value, and perhaps a time
	if len(fields) == 0 {
		return s, false
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	s.value = v
	return s, err == nil
}

// parseLabels reads name="value", … } and gives what comes behind it. Values may
// hold braces (routes do) and escapes.
func parseLabels(text string) (labels map[string]string, rest string, ok bool) {
	labels = map[string]string{}
	for {
		text = strings.TrimLeft(text, ", ")
		if strings.HasPrefix(text, "}") {
			return labels, text[1:], true
		}
		name, value, found := strings.Cut(text, `="`)
		if !found {
			return nil, "", false
		}
		var b strings.Builder
		i := 0
		for ; i < len(value) && value[i] != '"'; i++ {
			c := value[i]
			if c == '\\' && i+1 < len(value) {
				i++
				if c = value[i]; c == 'n' {
					c = '\n'
				}
			}
			b.WriteByte(c)
		}
		if i == len(value) {
			return nil, "", false
		}
		labels[name], text = b.String(), value[i+1:]
	}
}

const pushRoute = "POST /api/v1/metrics/push"

// backendOf sums up what a backend counted since it started, nil when it does not
// say when that was.
func backendOf(samples []sample, now time.Time) *Backend {
	b := &Backend{At: float64(now.UnixMicro()) / 1e6}
	cpu := false
	for _, s := range samples {
		switch s.name {
		case "process_start_time_seconds":
			b.Start = s.value
		case "process_cpu_seconds_total":
			b.CPU, cpu = s.value, true
		case "pganalytics_http_requests_total":
			b.Requests += s.value
			status, _ := strconv.Atoi(s.labels["status"])
			// A reader's wrong parameter is an answer; a batch that is not taken is a failure.
			if status >= 500 || status >= 400 && strings.HasSuffix(s.labels["route"], pushRoute) {
				b.Failed += s.value
			}
		case "pganalytics_ingest_batches_total":
			if s.labels["verdict"] == "refused" {
				b.Refused += s.value
			}
		}
	}
	if b.Start == 0 || !cpu {
		return nil
	}
	return b
}
