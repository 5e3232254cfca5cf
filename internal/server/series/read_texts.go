package series

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/pganalytics/pganalytics/internal/server/snapshot"
)

// Text is the text of a statement.
type Text struct {
	Query string
	Whole bool // false: cut to the length asked for
}

// Texts gives the texts of statements of an instance, cut at max characters; those
// not read yet are missing.
func Texts(ctx context.Context, tx pgx.Tx, instance int64, ids []int64, max int) (map[int64]Text, error) {
	out := map[int64]Text{}
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := tx.Query(ctx, `SELECT queryid, left(text, $3), length(text) <= $3 FROM statement_texts_raw JOIN statement_texts_text USING (hash)
WHERE instance_id = $1 AND queryid = ANY ($2)`, instance, ids, max)
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	var (
		id int64
		t  Text
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &t.Query, &t.Whole}, func() error {
		out[id] = t
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read texts: %w", err)
	}
	return out, nil
}

// Matching gives those of the statements whose text holds a piece of text in any
// case, or whose id it is.
func Matching(ctx context.Context, tx pgx.Tx, instance int64, ids []int64, piece string) (map[int64]bool, error) {
	out := map[int64]bool{}
	for _, id := range ids {
		if decimal(id) == piece {
			out[id] = true
		}
	}
	rows, err := tx.Query(ctx, `SELECT queryid FROM statement_texts_raw JOIN statement_texts_text USING (hash)
WHERE instance_id = $1 AND queryid = ANY ($2) AND strpos(lower(text), lower($3)) > 0`, instance, ids, piece)
	if err != nil {
		return nil, fmt.Errorf("search texts: %w", err)
	}
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		out[id] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search texts: %w", err)
	}
	return out, nil
}

// TextRead gives when a statement's text was read, microseconds since the Unix
// epoch: within a few minutes of its first execution; 0 when it was not yet.
func TextRead(ctx context.Context, tx pgx.Tx, instance, query int64) (int64, error) {
	var at snapshot.Micros
	err := tx.QueryRow(ctx, `SELECT time FROM statement_texts_raw WHERE instance_id = $1 AND queryid = $2`, instance, query).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read time of a text: %w", err)
	}
	return int64(at), nil
}
