package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/pganalytics/pganalytics/internal/server/auth"
)

const maxSmallBody = 4096

// decode reads a small JSON body strictly. Its errors name the field, and never
// repeat a value, which may be a secret.
func decode(r *http.Request, limit int64, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, limit+1))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if d.InputOffset() > limit {
			err = errTooLong
		} else if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errMore
		}
	}
	if err == nil {
		return nil
	}
	p := newProblem(http.StatusBadRequest, "body: %s", bodyFault(err))
	name := "body"
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) && typ.Field != "" {
		name = typ.Field
	}
	p.Parameter = &name
	return p
}

var (
	errTooLong = errors.New("too long")
	errMore    = errors.New("something follows the object")
)

func bodyFault(err error) string {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		field := ""
		if typ.Field != "" {
			field = "field " + typ.Field + ": "
		}
		got, _, _ := strings.Cut(typ.Value, " ") // "number 1e99" repeats the value
		return field + "want " + wanted(typ.Type) + ", not " + got
	case errors.As(err, &syntax):
		return syntax.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "want a whole JSON object"
	case errors.Is(err, errTooLong), errors.Is(err, errMore):
		return err.Error()
	}
	return err.Error() // json: unknown field "x"
}

// wanted says in JSON's words what a Go type takes.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Pointer:
		return wanted(t.Elem())
	}
	return "a number"
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	var in SignInJSONBody
	if err := decode(r, maxSmallBody, &in); err != nil {
		return err
	}
	if in.Token == "" {
		p := newProblem(http.StatusBadRequest, "token: missing")
		p.Parameter = new("token")
		return p
	}
	st, err := s.ready()
	if err != nil {
		return err
	}
	cookie, err := st.Sessions.SignIn(r.Context(), in.Token, r.TLS != nil)
	if errors.Is(err, auth.ErrRefused) {
		return newProblem(http.StatusUnauthorized, "this token is not valid; a sign-in link works once, within %s of the start", auth.SignInLife)
	}
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	s.reply(w, r, http.StatusOK, s.about())
	return nil
}

func (s *Server) session(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	s.reply(w, r, http.StatusOK, s.about())
	return nil
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	st, err := s.ready()
	if err != nil {
		return err
	}
	cookie, err := st.Sessions.SignOut(r, r.TLS != nil)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) about() Session {
	return Session{Version: s.cfg.Version, RetentionDays: s.cfg.Retention.Hours() / 24, Now: seconds(s.now().UnixMicro()), Demo: &s.cfg.Demo}
}
