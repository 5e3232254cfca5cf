package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
	"github.com/pganalytics/pganalytics/internal/server/auth"
	"github.com/pganalytics/pganalytics/internal/server/fleet"
	"github.com/pganalytics/pganalytics/internal/server/ingest"
)

const maxRegistration = 8 << 20 // 10,000 instances with labels

func (s *Server) register(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	var in Registration
	if err := decode(r, maxRegistration, &in); err != nil {
		return err
	}
	st, err := s.ready()
	if err != nil {
		return err
	}
	reg := fleet.Registration{Name: in.Name, Version: in.Version}
	if reg.ID, err = frame.ParseCollectorID(in.Id); err != nil {
		return badParameter("id", in.Id, "want 32 hexadecimal digits")
	}
	if in.Hostname != nil {
		reg.Hostname = *in.Hostname
	}
	if in.Interval != nil {
		if math.IsNaN(*in.Interval) || *in.Interval < 0 || *in.Interval > 86400 {
			return badParameter("interval", fmt.Sprint(*in.Interval), "want 0 to 86400 seconds")
		}
		reg.Interval = time.Duration(*in.Interval * float64(time.Second))
	}
	if in.Instances == nil {
		return badParameter("instances", "null", "want a list, which may be empty")
	}
	for _, i := range in.Instances {
		n := fleet.Named{Name: i.Name}
		if i.Labels != nil {
			n.Labels = *i.Labels
		}
		reg.Instances = append(reg.Instances, n)
	}
	out, err := st.Fleet.Register(r.Context(), reg)
	if field, ok := errors.AsType[*fleet.FieldError](err); ok {
		return badParameter(field.Field, field.Value, field.Want)
	}
	if err != nil {
		return err
	}
	answer := registered{Token: out.Token, Instances: []grantedName{}}
	for _, g := range out.Granted {
		answer.Instances = append(answer.Instances, grantedName{g.Name, strconv.FormatInt(g.ID, 10)})
	}
	for _, c := range out.Conflicts {
		answer.Conflicts = append(answer.Conflicts, conflict{c.Instance, c.Holder, c.Silent.Seconds()})
	}
	if len(answer.Conflicts) == 0 {
		s.reply(w, r, http.StatusOK, answer)
		return nil
	}
	// A problem that also grants the rest.
	first := answer.Conflicts[0]
	body, err := json.Marshal(struct {
		Problem
		registered
	}{newProblem(http.StatusConflict, "%d of %d instances are held by another collector, %q by %q", len(answer.Conflicts), len(in.Instances), first.Instance, first.Holder).Problem, answer})
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusConflict)
	_, _ = w.Write(body)
	return nil
}

// registered is the schema Registered, named so that it can be embedded.
type registered struct {
	Token     string        `json:"token"`
	Instances []grantedName `json:"instances"`
	Conflicts []conflict    `json:"conflicts,omitempty"`
}

type grantedName struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

type conflict struct {
	Instance string  `json:"instance"`
	Holder   string  `json:"holder"`
	Silent   float64 `json:"silent_seconds"`
}

func (s *Server) newest(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	st, err := s.ready()
	if err != nil {
		return err
	}
	epoch, seq, err := st.Fleet.Newest(r.Context(), c.Collector)
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, batchName{hex16(epoch), strconv.FormatUint(seq, 10)})
	return nil
}

type batchName struct {
	Epoch string `json:"epoch"`
	Seq   string `json:"seq"`
}

func hex16(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

func (s *Server) push(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != ingest.ContentType {
		return unsupported("Content-Type", r.Header.Get("Content-Type"), "want "+ingest.ContentType)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return unsupported("Content-Encoding", coding, "want none: envelopes hold what is already compressed")
	}
	st, err := s.ready()
	if err != nil {
		return err
	}
	out, err := st.Ingest.Push(r.Context(), c.Collector, r.Body, r.ContentLength, r.Header.Get(ingest.HeaderOldest))
	if bad, ok := errors.AsType[*ingest.RequestError](err); ok {
		p := newProblem(bad.Status, "%s", bad.Detail)
		p.Parameter, p.Value = optional(bad.Parameter), optional(bad.Value)
		p.retry = int(math.Ceil(bad.RetryAfter.Seconds()))
		return p
	}
	if err != nil {
		return err
	}
	answer := pushed{Results: make([]pushResult, len(out.Results)), Unknown: out.Unknown}
	for i, v := range out.Results {
		answer.Results[i] = pushResult{hex16(v.Epoch), strconv.FormatUint(v.Seq, 10), string(v.Status), v.Reason, v.Detail}
	}
	s.reply(w, r, http.StatusOK, answer)
	return nil
}

type pushed struct {
	Results []pushResult `json:"results"`
	Unknown []string     `json:"unknown,omitempty"`
}

type pushResult struct {
	Epoch  string `json:"epoch"`
	Seq    string `json:"seq"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}
