package auth

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Migrations are the goose migrations of this package's tables, in the folder
// "migrations"; they belong into the configuration database (DATABASE_URL).
//
//go:embed migrations/*.sql
var Migrations embed.FS

const (
	// CookieName is the session's cookie.
	CookieName = "pganalytics_session"
	// SessionLife is how long a session lasts, whether used or not.
	SessionLife = 12 * time.Hour
	// SignInLife is how long a one-time sign-in token can be used.
	SignInLife = 12 * time.Hour

	storeLimit = 5 * time.Second
)

// Sessions are the sessions of the page, and what they are exchanged for.
type Sessions struct {
	api Token
	db  *pgxpool.Pool

	mu    sync.Mutex
	links map[[32]byte]time.Time // one-time tokens by hash, with their end
}

// NewSessions keeps sessions in db (the configuration database), given out for
// the API token and for one-time tokens.
func NewSessions(db *pgxpool.Pool, api Token) *Sessions {
	return &Sessions{api: api, db: db, links: map[[32]byte]time.Time{}}
}

// NewLink makes a one-time sign-in token. It lives in this process only: `up`
// prints it at each start.
func (s *Sessions) NewLink() Token {
	t := NewToken()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for hash, end := range s.links {
		if now.After(end) {
			delete(s.links, hash)
		}
	}
	s.links[t.Hash()] = now.Add(SignInLife)
	return t
}

// SignIn exchanges the API token or an unused one-time token for a session and
// gives its cookie; ErrRefused when it is neither, ErrUnavailable when the session
// can't be stored (the one-time token is then still good).
func (s *Sessions) SignIn(ctx context.Context, given string, secure bool) (*http.Cookie, error) {
	giveBack := func() {}
	if !s.api.Equal(given) {
		hash := sha256.Sum256([]byte(given))
		s.mu.Lock()
		end, found := s.links[hash]
		delete(s.links, hash)
		s.mu.Unlock()
		if !found || time.Now().After(end) {
			return nil, ErrRefused
		}
		giveBack = func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.links[hash] = end
		}
	}
	token := NewToken()
	hash := token.Hash()
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	// The store's clock decides both ends of a session's life.
	_, err := s.db.Exec(ctx, `WITH old AS (DELETE FROM auth_session WHERE expires < now())
		INSERT INTO auth_session (hash, expires) VALUES ($1, now() + make_interval(secs => $2))`, hash[:], SessionLife.Seconds())
	if err != nil {
		giveBack()
		return nil, fmt.Errorf("%w: store session: %w", ErrUnavailable, err)
	}
	return cookie(token.Reveal(), SessionLife, secure), nil
}

// SignOut ends the request's session, if there is one, and gives the cookie that
// makes the browser forget it.
func (s *Sessions) SignOut(r *http.Request, secure bool) (*http.Cookie, error) {
	if c, err := r.Cookie(CookieName); err == nil {
		hash := sha256.Sum256([]byte(c.Value))
		ctx, cancel := context.WithTimeout(r.Context(), storeLimit)
		defer cancel()
		if _, err := s.db.Exec(ctx, `DELETE FROM auth_session WHERE hash = $1`, hash[:]); err != nil {
			return nil, fmt.Errorf("%w: end session: %w", ErrUnavailable, err)
		}
	}
	return cookie("", -1, secure), nil
}

// check finds the session of a request's cookie.
func (s *Sessions) check(r *http.Request) error {
	c, err := r.Cookie(CookieName)
	if err != nil || c.Value == "" {
		return ErrRefused
	}
	if s == nil {
		return fmt.Errorf("%w: the store is not ready", ErrUnavailable)
	}
	hash := sha256.Sum256([]byte(c.Value))
	ctx, cancel := context.WithTimeout(r.Context(), storeLimit)
	defer cancel()
	var one int
	err = s.db.QueryRow(ctx, `SELECT 1 FROM auth_session WHERE hash = $1 AND expires > now()`, hash[:]).Scan(&one)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrRefused
	case err != nil:
		return fmt.Errorf("%w: look up session: %w", ErrUnavailable, err)
	}
	return nil
}

func cookie(value string, life time.Duration, secure bool) *http.Cookie {
	c := &http.Cookie{Name: CookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure, MaxAge: -1}
	if life > 0 {
		c.MaxAge = int(life.Seconds())
	}
	return c
}
