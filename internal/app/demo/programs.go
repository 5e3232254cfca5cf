package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	products  = 2000
	customers = 20000
	// Rows kept of what grows; the janitors delete the rest.
	ordersKept, eventsKept, invoicesKept = 25000, 50000, 20000
)

var programs = []program{
	{"web", "shop-web", "shop", 3, 90 * time.Millisecond, browse},
	{"checkout", "checkout-api", "shop", 3, 300 * time.Millisecond, checkout},
	{"worker", "mailer", "shop", 2, 500 * time.Millisecond, work},
	{"worker", "janitor", "shop", 1, 8 * time.Second, tidyShop},
	{"worker", "event-loader", "analytics", 1, time.Second, loadEvents},
	{"worker", "janitor", "analytics", 1, 8 * time.Second, tidyEvents},
	{"billing", "billing-api", "billing", 2, 350 * time.Millisecond, invoice},
	{"billing", "dunning", "billing", 1, 4 * time.Second, dun},
	{"reporting", "sales-report", "shop", 1, 7 * time.Second, report},
	{"reporting", "dashboard", "analytics", 1, 4 * time.Second, dashboard},
	{"reporting", "export", "shop", 1, 9 * time.Second, export},
	{"admin", "psql", "shop", 1, 12 * time.Second, administer},
}

// browse is a customer looking around: many fast queries, some that scan.
func browse(ctx context.Context, c *client) error {
	product := 1 + c.rand.IntN(products)
	customer := 1 + c.rand.IntN(customers)
	switch n := c.rand.IntN(100); {
	case n < 50:
		if err := c.read(ctx, `SELECT p.id, p.sku, p.name, p.price_cents, p.description, c.name AS category
FROM products p JOIN categories c ON c.id = p.category_id WHERE p.id = $1`, product); err != nil {
			return err
		}
		if err := c.read(ctx, "SELECT quantity FROM stock WHERE product_id = $1", product); err != nil {
			return err
		}
		if n < 6 {
			return c.read(ctx, "SELECT count(*), avg(stars) FROM reviews WHERE product_id = $1", product)
		}
		return nil
	case n < 70:
		return c.read(ctx, "SELECT id, name, price_cents FROM products WHERE category_id = $1 ORDER BY price_cents LIMIT 20", product%40)
	case n < 75:
		return c.read(ctx, "SELECT id, name, price_cents FROM products WHERE name ILIKE $1 ORDER BY name LIMIT 10", fmt.Sprintf("%%%d%%", product))
	case n < 90:
		_, err := c.Exec(ctx, `INSERT INTO sessions (customer_id, token, page) VALUES ($1, md5(random()::text), $2)
ON CONFLICT (customer_id) DO UPDATE SET page = excluded.page, hits = sessions.hits + 1, seen_at = now()`, 1+customer%3000, fmt.Sprintf("/p/%d", product))
		return err
	case n < 98:
		return c.read(ctx, "SELECT id, name, country FROM customers WHERE email = $1", fmt.Sprintf("customer%d@example.com", customer))
	default:
		return c.read(ctx, `SELECT o.id, o.status, o.total_cents, count(i.product_id) AS items FROM orders o JOIN order_items i ON i.order_id = o.id
WHERE o.customer_id = $1 GROUP BY o.id ORDER BY o.created_at DESC LIMIT 10`, customer)
	}
}

// checkout places an order and holds the rows of its items while the card is charged: with a
// product that everyone wants the next customer waits for the lock.
func checkout(ctx context.Context, c *client) error {
	items := []int{1 + c.rand.IntN(products)}
	if c.rand.IntN(100) < 60 {
		items = append(items, 7) // on the front page
	}
	if c.rand.IntN(100) < 40 {
		items = append(items, 1+c.rand.IntN(products))
	}
	slices.Sort(items) // always in this order: waits, never deadlocks
	items = slices.Compact(items)
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // a no-op after Commit, else work settles it
	var order int64
	if err := tx.QueryRow(ctx, "INSERT INTO orders (customer_id) VALUES ($1) RETURNING id", 1+c.rand.IntN(customers)).Scan(&order); err != nil {
		return err
	}
	for _, item := range items {
		began := time.Now()
		if _, err := tx.Exec(ctx, "UPDATE stock SET quantity = quantity - 1, updated_at = now() WHERE product_id = $1", item); err != nil {
			return err
		}
		c.rest += time.Since(began) // a wait for the lock, not work
		if _, err := tx.Exec(ctx, `INSERT INTO order_items (order_id, product_id, quantity, price_cents)
SELECT $1, id, 1, price_cents FROM products WHERE id = $2`, order, item); err != nil {
			return err
		}
	}
	c.think(200*time.Millisecond, 1200*time.Millisecond)
	if c.rand.IntN(100) < 12 {
		return tx.Rollback(ctx) // the card was declined
	}
	if _, err := tx.Exec(ctx, `UPDATE orders SET total_cents = (SELECT sum(quantity * price_cents) FROM order_items WHERE order_id = $1) WHERE id = $1`, order); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO jobs (kind, order_id, payload) VALUES ('mail', $1, jsonb_build_object('template', 'thanks')), ('ship', $1, '{}')", order); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// work takes jobs off the queue, as several workers can at once.
func work(ctx context.Context, c *client) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // see checkout
	rows, err := tx.Query(ctx, `DELETE FROM jobs WHERE id IN (
SELECT id FROM jobs WHERE run_at <= now() ORDER BY run_at LIMIT 6 FOR UPDATE SKIP LOCKED) RETURNING order_id, kind`)
	if err != nil {
		return err
	}
	type job struct {
		OrderID int64
		Kind    string
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[job])
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if j.Kind != "ship" {
			continue
		}
		if _, err := tx.Exec(ctx, "UPDATE orders SET status = 'shipped' WHERE id = $1", j.OrderID); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

func tidyShop(ctx context.Context, c *client) error {
	if _, err := c.Exec(ctx, `DELETE FROM orders WHERE id IN (
SELECT id FROM orders WHERE id < (SELECT max(id) FROM orders) - $1 ORDER BY id LIMIT 500)`, ordersKept); err != nil {
		return err
	}
	_, err := c.Exec(ctx, "UPDATE stock SET quantity = quantity + 500, updated_at = now() WHERE quantity < 50")
	return err
}

func loadEvents(ctx context.Context, c *client) error {
	kinds := []string{"view", "view", "view", "search", "cart", "checkout"}
	n := 20 + c.rand.IntN(60)
	_, err := c.CopyFrom(ctx, pgx.Identifier{"events"}, []string{"at", "kind", "customer_id", "payload"}, pgx.CopyFromSlice(n, func(int) ([]any, error) {
		return []any{time.Now(), kinds[c.rand.IntN(len(kinds))], 1 + c.rand.IntN(customers), map[string]any{"page": fmt.Sprintf("/p/%d", c.rand.IntN(products)), "ms": c.rand.IntN(900)}}, nil
	}))
	return err
}

func tidyEvents(ctx context.Context, c *client) error {
	if _, err := c.Exec(ctx, `INSERT INTO minutes (minute, kind, events)
SELECT date_trunc('minute', at), kind, count(*) FROM events WHERE at >= date_trunc('minute', now() - interval '1 minute') GROUP BY 1, 2
ON CONFLICT (minute, kind) DO UPDATE SET events = excluded.events`); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `DELETE FROM events WHERE id IN (
SELECT id FROM events WHERE id < (SELECT max(id) FROM events) - $1 ORDER BY id LIMIT 2000)`, eventsKept); err != nil {
		return err
	}
	_, err := c.Exec(ctx, "DELETE FROM minutes WHERE minute < now() - interval '1 day'")
	return err
}

// invoice books both sides; everyone's other side is the one revenue account.
func invoice(ctx context.Context, c *client) error {
	account, cents := 1+c.rand.IntN(100), 1000+c.rand.IntN(50000)
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // see checkout
	var id int64
	if err := tx.QueryRow(ctx, "INSERT INTO invoices (account_id, amount_cents) VALUES ($1, $2) RETURNING id", account, cents).Scan(&id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO entries (invoice_id, account_id, cents) VALUES ($1, 0, $3), ($1, $2, -$3::bigint)", id, account, int64(cents)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE accounts SET balance_cents = balance_cents - $2 WHERE id = $1", account, int64(cents)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE accounts SET balance_cents = balance_cents + $1 WHERE id = 0", int64(cents)); err != nil {
		return err
	}
	if c.rand.IntN(100) < 8 {
		return tx.Rollback(ctx) // the address is refused by the tax service
	}
	return tx.Commit(ctx)
}

func dun(ctx context.Context, c *client) error {
	if _, err := c.Exec(ctx, `UPDATE invoices SET status = CASE WHEN random() < 0.9 THEN 'paid' ELSE 'overdue' END
WHERE id IN (SELECT id FROM invoices WHERE status = 'open' ORDER BY issued_at LIMIT 40 FOR UPDATE SKIP LOCKED)`); err != nil {
		return err
	}
	_, err := c.Exec(ctx, `DELETE FROM invoices WHERE id IN (
SELECT id FROM invoices WHERE id < (SELECT max(id) FROM invoices) - $1 ORDER BY id LIMIT 300)`, invoicesKept)
	return err
}

// report has too little work_mem (see Prepare), so sorting and hashing spill.
func report(ctx context.Context, c *client) error {
	switch c.steps % 3 {
	case 0:
		return c.read(ctx, `SELECT o.customer_id, date_trunc('month', o.created_at) AS month, sum(i.quantity * i.price_cents) AS cents,
rank() OVER (PARTITION BY date_trunc('month', o.created_at) ORDER BY sum(i.quantity * i.price_cents) DESC) AS place
FROM orders o JOIN order_items i ON i.order_id = o.id GROUP BY 1, 2 ORDER BY 2, 4 LIMIT 100`)
	case 1:
		return c.all(ctx, "REFRESH MATERIALIZED VIEW CONCURRENTLY daily_sales")
	default:
		return c.read(ctx, `SELECT p.category_id, p.name, sum(i.quantity) AS sold FROM order_items i JOIN products p ON p.id = i.product_id
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 50`)
	}
}

func dashboard(ctx context.Context, c *client) error {
	if err := c.read(ctx, `SELECT date_trunc('minute', at) AS minute, kind, count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY (payload->>'ms')::int) AS p95
FROM events WHERE at > now() - interval '30 minutes' GROUP BY 1, 2 ORDER BY 1, 2`); err != nil {
		return err
	}
	return c.read(ctx, "SELECT minute, kind, events FROM minutes ORDER BY minute DESC LIMIT 60")
}

// export reads with a cursor as fast as its slow receiver takes it, in one long transaction.
func export(ctx context.Context, c *client) error {
	if err := c.all(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		"DECLARE export NO SCROLL CURSOR FOR SELECT order_id, product_id, quantity, price_cents FROM order_items"); err != nil {
		return err
	}
	for range 8 {
		if err := c.read(ctx, "FETCH 500 FROM export"); err != nil {
			return err
		}
		c.think(300*time.Millisecond, 900*time.Millisecond)
	}
	return c.all(ctx, "CLOSE export", "COMMIT")
}

// administer is a person in psql who forgets an open transaction, and cares for the tables at times.
func administer(ctx context.Context, c *client) error {
	if c.steps%3 == 2 {
		return c.all(ctx, "ANALYZE products", "VACUUM stock")
	}
	if err := c.all(ctx, "BEGIN", "SELECT status, count(*) FROM orders GROUP BY status"); err != nil {
		return err
	}
	c.think(5*time.Second, 11*time.Second)
	return c.all(ctx, "COMMIT")
}
