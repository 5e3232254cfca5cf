// Package snapshot runs reads of the store in one consistent view: what an answer
// adds up was committed at one moment, so sums over several tables agree.
package snapshot

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Limit is the time that a statement of a read may take in the store.
const Limit = 20 * time.Second

// begin opens the transaction and limits it in one round trip. JIT costs more than it gives at
// this size of query; a generic plan must guess how long the window is.
var begin = fmt.Sprintf("begin isolation level repeatable read read only; set local statement_timeout = %d; set local jit = off; set local plan_cache_mode = force_custom_plan", Limit.Milliseconds())

// Read calls f within a read-only repeatable-read transaction.
func Read(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, Limit+time.Second)
	defer cancel()
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: begin}, f)
}
