package ship

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pganalytics/pganalytics/internal/frame"
)

// idleWait bounds a sleep without work, so that a signal missed costs little.
const idleWait = 10 * time.Second

// push sends the next batches.
func (s *Shipper) push(ctx context.Context) (wait time.Duration, idle bool, err error) {
	envelopes, wait := s.next(ctx)
	if len(envelopes) == 0 {
		return wait, true, nil
	}
	s.body = s.body[:0]
	for _, e := range envelopes {
		s.body = frame.AppendEnvelope(s.body, e)
	}
	s.note(func(st *Status) { st.Requests++ })
	rctx, cancel := context.WithTimeout(ctx, requestTimeout)
	verdicts, unknown, err := s.client.push(rctx, s.cfg.Token(), envelopes, s.body, s.cfg.Queue.Oldest())
	cancel()
	if err != nil {
		s.note(func(st *Status) { st.Failures++ })
		return s.noVerdict(ctx, envelopes, err)
	}
	s.sayUnknown(ctx, unknown)
	n := len(s.body)
	if cap(s.body) > 2*maxBytes { // one giant batch must not be paid for ever
		s.body = nil
	}
	return s.obey(ctx, envelopes, verdicts, n)
}

// next picks the batches of a request: those that failed alone go alone, when their
// time has come.
func (s *Shipper) next(ctx context.Context) ([]*frame.Envelope, time.Duration) {
	now, wait := time.Now(), idleWait
	var alone *frame.ID
	for id, k := range s.strikes {
		if !k.until.After(now) {
			alone = &id
			break
		}
		wait = min(wait, k.until.Sub(now))
	}
	skip := func(id frame.ID) bool { return s.strikes[id] != nil }
	if alone != nil {
		skip = func(id frame.ID) bool { return id != *alone }
	}
	limit := s.size
	if alone == nil && s.size < maxBatches {
		limit++ // the newest one, which is left out or goes alone
	}
	envelopes, err := s.cfg.Queue.Pending(ctx, limit, maxBytes, skip)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.WarnContext(ctx, "spool not read", "err", err)
	}
	if len(envelopes) < 2 {
		s.newestTurn = false
	} else if alone == nil && s.size < maxBatches {
		// A batch is suspected: the oldest ones in small groups find it, the newest
		// in turn with them is not kept waiting by it.
		if s.newestTurn = !s.newestTurn; s.newestTurn {
			envelopes = envelopes[:1]
		} else {
			envelopes = envelopes[1:]
		}
	}
	if alone != nil && len(envelopes) == 0 {
		delete(s.strikes, *alone) // dropped meanwhile
		wait = time.Millisecond
	}
	return envelopes, wait
}

// noVerdict handles a request whose answer is no verdict.
func (s *Shipper) noVerdict(ctx context.Context, envelopes []*frame.Envelope, err error) (time.Duration, bool, error) {
	wait := s.failed(ctx, err)
	s.rejected(ctx, err)
	var status *StatusError
	switch {
	case errors.Is(err, ErrUnauthorized):
	case errors.As(err, &status) && status.RetryAfter > 0:
	case notConnected(err): // no batch can be to blame
	case len(envelopes) > 1:
		// Perhaps one of them is the cause: ask in smaller groups.
		s.size, s.newestTurn = max(1, len(envelopes)/2), false
	default:
		return wait, false, s.strike(ctx, envelopes[0].ID, "no answer: "+err.Error())
	}
	return wait, false, nil
}

// notConnected says that the request did not leave.
func notConnected(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// strike counts a failure of one batch, if others passed since its last one. The
// fifth one refuses it: it would stop the collector for ever.
func (s *Shipper) strike(ctx context.Context, id frame.ID, why string) error {
	k := s.strikes[id]
	switch {
	case k == nil:
		k = &strike{n: 1, passes: s.passes}
		s.strikes[id] = k
	case s.passes > k.passes:
		k.n, k.passes = k.n+1, s.passes
	}
	k.until = time.Now().Add(s.backoff(k.n + 2))
	if k.n < strikesOut {
		return nil
	}
	return s.refuse(ctx, id, "poison", why)
}

func (s *Shipper) refuse(ctx context.Context, id frame.ID, reason, detail string) error {
	if err := s.cfg.Queue.Refuse(id, reason); err != nil {
		return fmt.Errorf("put batch %s aside: %w", id, err)
	}
	delete(s.strikes, id)
	s.note(func(st *Status) { st.Refused++ })
	s.cfg.Log.WarnContext(ctx, "batch refused", "batch", id.String(), "reason", reason, "detail", detail)
	return nil
}

// obey does what the verdicts say; a batch without one is sent again.
func (s *Shipper) obey(ctx context.Context, envelopes []*frame.Envelope, verdicts map[frame.ID]Verdict, bytes int) (time.Duration, bool, error) {
	var acks []frame.ID
	cloned := false
	for _, e := range envelopes {
		switch v := verdicts[e.ID]; v.Status {
		case Stored, Duplicate:
			acks = append(acks, e.ID)
			delete(s.strikes, e.ID)
		case Cloned:
			cloned = true
		}
	}
	s.passes += uint64(len(acks))
	s.cfg.Queue.Ack(acks...)
	if cloned {
		return 0, false, fmt.Errorf("%w: other content under an id", ErrForeign)
	}
	if len(verdicts) == 0 || allUnavailable(verdicts, len(envelopes)) {
		err := fmt.Errorf("push: %w", &StatusError{Status: http.StatusOK, Detail: "no batch was stored"})
		s.note(func(st *Status) { st.Failures++ })
		return s.noVerdict(ctx, envelopes, err)
	}
	for _, e := range envelopes {
		v := verdicts[e.ID]
		var err error
		switch v.Status {
		case Stored, Duplicate:
		case Refused:
			if v.Reason == "collector_change" && s.nextClaim.IsZero() { // learn who holds the instance
				s.nextClaim = time.Now()
			}
			err = s.refuse(ctx, e.ID, refusal(v.Reason), v.Reason)
		case Unavailable:
			err = s.strike(ctx, e.ID, "unavailable: "+v.Reason)
		default:
			err = s.strike(ctx, e.ID, "no verdict in the answer")
		}
		if err != nil {
			return 0, false, err
		}
	}
	if s.failures > 0 {
		s.cfg.Log.InfoContext(ctx, "backend reached again", "attempts", s.failures)
	}
	s.failures = 0
	if !s.newestTurn {
		s.size = min(maxBatches, s.size*2)
	}
	s.note(func(st *Status) {
		st.Acknowledged += uint64(len(acks))
		st.Bytes += uint64(bytes)
		st.LastSuccess, st.LastFailure = time.Now(), ""
	})
	return 0, false, nil
}

func allUnavailable(verdicts map[frame.ID]Verdict, n int) bool {
	for _, v := range verdicts {
		if v.Status != Unavailable {
			return false
		}
	}
	return len(verdicts) == n
}

// refusal is the gap's short reason for what the backend said.
func refusal(reason string) string {
	switch reason {
	case "clock", "retention", "collector_change":
		return reason
	}
	return "poison"
}

// sayUnknown logs names that the backend ignores, each once an hour.
func (s *Shipper) sayUnknown(ctx context.Context, names []string) {
	now := time.Now()
	for _, name := range names {
		if len(s.unknownSeen) > 1000 {
			clear(s.unknownSeen)
		}
		if last, ok := s.unknownSeen[name]; ok && now.Sub(last) < unknownLogEvery {
			continue
		}
		s.unknownSeen[name] = now
		s.cfg.Log.WarnContext(ctx, "backend does not know a name", "name", name)
	}
}
