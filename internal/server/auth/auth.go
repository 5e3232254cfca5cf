package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// Class is who may call a route.
type Class string

// The classes. A route has exactly one.
const (
	Open         Class = "open"         // anyone
	Reader       Class = "reader"       // the API token or a session
	Registration Class = "registration" // the registration token
	Collector    Class = "collector"    // a registered collector's own token
)

var (
	// ErrRefused: no or wrong credentials for this class.
	ErrRefused = errors.New("no valid credentials")
	// ErrUnavailable wraps failures of the store: whether the credentials are
	// valid is not known.
	ErrUnavailable = errors.New("credentials can't be checked now")
)

// Collectors knows the tokens of collectors; fleet owns them.
type Collectors interface {
	// CollectorByToken gives the collector whose token has this SHA-256; false
	// when there is none.
	CollectorByToken(ctx context.Context, hash [32]byte) (frame.CollectorID, bool, error)
}

// Caller is who sent a request.
type Caller struct {
	Class     Class
	Collector frame.CollectorID // for Class Collector
}

// Gate checks credentials. Before the store is ready Collectors and Sessions are nil:
// what needs them is ErrUnavailable.
type Gate struct {
	API          Token
	Registration Token
	Collectors   Collectors
	Sessions     *Sessions
}

// Check says who the caller of a route of the given class is, ErrRefused or
// ErrUnavailable.
func (g *Gate) Check(r *http.Request, class Class) (Caller, error) {
	caller := Caller{Class: class}
	given, bearer, err := Bearer(r)
	if class == Open {
		return caller, nil
	}
	if err != nil {
		return Caller{}, err
	}
	switch class {
	case Reader:
		switch {
		case bearer && g.API.Equal(given):
			return caller, nil
		case bearer:
			return Caller{}, ErrRefused
		}
		return caller, g.Sessions.check(r)
	case Registration:
		if bearer && g.Registration.Equal(given) {
			return caller, nil
		}
	case Collector:
		if !bearer || len(given) < minToken {
			return Caller{}, ErrRefused
		}
		if g.Collectors == nil {
			return Caller{}, fmt.Errorf("%w: the store is not ready", ErrUnavailable)
		}
		id, known, err := g.Collectors.CollectorByToken(r.Context(), sha256.Sum256([]byte(given)))
		if err != nil {
			return Caller{}, fmt.Errorf("%w: look up collector: %w", ErrUnavailable, err)
		}
		if known {
			caller.Collector = id
			return caller, nil
		}
	}
	return Caller{}, ErrRefused
}

// Bearer gives the bearer token of a request; false when it has no Authorization
// header, ErrRefused when the header is double or of another scheme.
func Bearer(r *http.Request) (string, bool, error) {
	lines := r.Header.Values("Authorization")
	if len(lines) == 0 {
		return "", false, nil
	}
	scheme, token, found := strings.Cut(lines[0], " ")
	if len(lines) > 1 || !found || !strings.EqualFold(scheme, "bearer") || token == "" {
		return "", false, ErrRefused
	}
	return token, true, nil
}
