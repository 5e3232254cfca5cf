package server

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pganalytics/pganalytics/internal/server/api"
)

const (
	healthLimit = 2 * time.Second // of one look at a database
	healthAge   = time.Second     // health is open to anyone: look no more often
)

type healthCache struct {
	mu    sync.Mutex // held while looking
	at    time.Time
	value api.Health
}

// component is a part of Health.
type component = struct {
	Detail *string                    `json:"detail,omitempty"`
	Status api.HealthComponentsStatus `json:"status"`
}

// Health says what works: each database, ingest and the page. Down when data can't be stored.
func (b *Backend) Health(ctx context.Context) api.Health {
	b.health.mu.Lock()
	defer b.health.mu.Unlock()
	if time.Since(b.health.at) < healthAge {
		return b.health.value
	}
	h := api.Health{Status: "ok", Version: b.cfg.Version, Components: map[string]component{}}
	set := func(name, detail string, ok bool) {
		c := component{Status: "ok"}
		if detail != "" {
			c.Detail = &detail
		}
		if !ok {
			c.Status, h.Status = "down", "down"
		}
		h.Components[name] = c
	}
	st := b.state.Load()
	detail, ok := ping(ctx, b.metrics)
	if b.cfg.StoreHealth != nil && !ok {
		if err := b.cfg.StoreHealth(); err != nil {
			detail = err.Error()
		}
	}
	layout := detail
	if ok && st != nil {
		layout = st.partitions.Layout().Detail
	}
	set("timescale", layout, ok)
	if b.app != b.metrics {
		detail, ok = ping(ctx, b.app)
	}
	set("database", detail, ok)
	switch {
	case st == nil:
		set("ingest", "waiting for the store", false)
	case st.ingest.Failing():
		set("ingest", "the newest batches could not be stored", false)
	default:
		set("ingest", "", true)
	}
	if b.cfg.UI == nil {
		set("ui", "this program holds no page", true)
	} else {
		set("ui", b.cfg.UIDetail, true)
	}
	if ctx.Err() == nil { // else the asker left, which says nothing
		b.health.at, b.health.value = time.Now(), h
	}
	return h
}

func ping(ctx context.Context, pool *pgxpool.Pool) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		return "no answer", false
	}
	return "", true
}
