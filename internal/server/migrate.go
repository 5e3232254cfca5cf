package server

import (
	"context"
	"fmt"

	"github.com/pganalytics/pganalytics/internal/server/store"
)

// Migrate brings both databases up to this program without serving; appURL may be
// the same as metricsURL.
func Migrate(ctx context.Context, metricsURL, appURL string) error {
	var b Backend
	var err error
	if b.metrics, err = store.Open(metricsURL, store.Options{}); err != nil {
		return fmt.Errorf("metrics database: %w", err)
	}
	b.app = b.metrics
	if appURL != metricsURL {
		if b.app, err = store.Open(appURL, store.Options{}); err != nil {
			b.metrics.Close()
			return fmt.Errorf("configuration database: %w", err)
		}
	}
	defer b.closePools()
	return b.Migrate(ctx)
}
