package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
)

// The short words for what went wrong; they become outcome reasons.
const (
	reasonConnect          = "connect"           // no connection: refused, timed out, not let in
	reasonNoConnect        = "no_connect"        // no CONNECT privilege on the database
	reasonGone             = "gone"              // the database is no more
	reasonLost             = "lost"              // the connection broke in the round
	reasonTimeout          = "timeout"           // the server fell silent beyond its own limits
	reasonLock             = "lock_timeout"      //
	reasonStatement        = "statement_timeout" //
	reasonCancelled        = "cancelled"         // by somebody on the server
	reasonConflict         = "recovery_conflict" // with replay on a standby
	reasonPrivilege        = "privilege"         //
	reasonMissing          = "missing"           // a relation, function or column
	reasonNotLoaded        = "not_loaded"        // shared_preload_libraries lacks it
	reasonExtensionMissing = "extension_missing" //
	reasonNotExtension     = "not_extension"     // something by that name doesn't belong to the extension
	reasonTooBig           = "too_big"           // more rows, or longer values, than we take
	reasonReset            = "reset"             // statistics were reset while they were read
	reasonChanged          = "changed"           // another server answers; Contact is due
	reasonFailed           = "failed"            // anything else; the detail says it
	reasonVersion          = "version"           //
	reasonDisabled         = "disabled"          //
)

// failure is an error with its short word.
type failure struct {
	reason string
	doing  string
	err    error
}

func (f *failure) Error() string { return f.doing + ": " + text(f.err) }
func (f *failure) Unwrap() error { return f.err }

func fail(reason, doing string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{reason, doing, err}
}

// failf makes a failure without another error below it.
func failf(reason, doing, format string, args ...any) error {
	return &failure{reason, doing, fmt.Errorf(format, args...)}
}

// ReasonOf gives the short word for an error of this package: connect,
// no_connect, gone, lost, timeout, lock_timeout, statement_timeout, cancelled,
// recovery_conflict, privilege, missing, not_loaded, extension_missing,
// not_extension, too_big, reset, changed or failed. "" for nil.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.reason
	}
	return reasonFailed
}

// connectReason: whatever keeps us out is "connect", unless it is one database's
// matter alone.
func connectReason(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "3D000":
			return reasonGone
		case "42501":
			return reasonNoConnect
		}
	}
	return reasonConnect
}

// roundReason classifies what a statement, or the connection under it, gave.
func roundReason(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "55P03":
			return reasonLock
		case "57014":
			if strings.Contains(pg.Message, "user request") {
				return reasonCancelled
			}
			return reasonStatement
		case "40001":
			return reasonConflict
		case "42501":
			return reasonPrivilege
		case "55000":
			if strings.Contains(pg.Message, "shared_preload_libraries") {
				return reasonNotLoaded
			}
		}
		switch {
		case isFatal(pg):
			return reasonLost
		case strings.HasPrefix(pg.Code, "42"):
			return reasonMissing
		}
		return reasonFailed
	}
	var own *failure
	var network net.Error
	switch {
	case errors.As(err, &own):
		return own.reason
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return reasonLost
	}
	return reasonLost
}

func isFatal(pg *pgconn.PgError) bool {
	// SeverityUnlocalized is always there: since 9.6.
	return pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC"
}

// undefined: a column, function, relation or operator that isn't there, so that
// reading without it may do.
func undefined(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || isFatal(pg) {
		return false
	}
	switch pg.Code {
	case "42703", "42883", "42P01", "42704", "42809", "42846", "42804":
		return true
	}
	return false
}

// text is an error for people: what matters of pgconn's nested texts, at most 500
// characters of a server's words, on one line.
func text(err error) string {
	var pg *pgconn.PgError
	var op *net.OpError
	var dns *net.DNSError
	s := err.Error()
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// Its own text repeats user, database and every address tried.
		switch {
		case errors.As(err, &pg):
			s = pg.Error()
		case errors.As(err, &dns):
			s = dns.Error()
		case errors.As(err, &op):
			s = op.Error()
		default:
			s = connect.Unwrap().Error()
		}
		if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
			s = "timed out: " + s
		}
	} else if errors.As(err, &pg) {
		s = pg.Error()
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
