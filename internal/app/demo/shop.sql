-- Made once by the superuser in database shop; everything then belongs to admin.
SELECT setseed(0.42);

CREATE TABLE categories (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO categories
SELECT i, (ARRAY['Chairs','Tables','Lamps','Shelves','Rugs','Beds','Sofas','Desks','Mirrors','Curtains'])[1 + i % 10]
       || CASE WHEN i < 10 THEN '' ELSE ' ' || (ARRAY['outdoor','kids','office'])[i / 10] END
FROM generate_series(0, 39) i;

CREATE TABLE products (
	id int PRIMARY KEY, sku text NOT NULL UNIQUE, name text NOT NULL,
	category_id int NOT NULL REFERENCES categories, price_cents int NOT NULL, description text NOT NULL);
INSERT INTO products
SELECT i, 'SKU-' || lpad(i::text, 6, '0'),
       (ARRAY['Oak','Birch','Walnut','Steel','Linen','Wool','Glass','Marble'])[1 + i % 8] || ' '
       || (ARRAY['Aurora','Bergen','Como','Delft','Esbjerg','Faro','Ghent','Hel','Imola','Jena'])[1 + i / 8 % 10] || ' ' || i,
       i % 40, 500 + (random() * 90000)::int, repeat('A piece to keep for a long time. ', 3 + i % 5)
FROM generate_series(1, 2000) i;
CREATE INDEX products_category_price ON products (category_id, price_cents);

CREATE TABLE stock (
	product_id int PRIMARY KEY REFERENCES products, quantity int NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0.02);
INSERT INTO stock SELECT id, 200 + (random() * 800)::int FROM products;

CREATE TABLE customers (
	id int PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, country text NOT NULL, created_at timestamptz NOT NULL);
INSERT INTO customers
SELECT i, 'customer' || i || '@example.com', 'Customer ' || i,
       (ARRAY['DE','FR','NL','PL','ES','IT','SE','DK','AT','BE'])[1 + (random() * 9)::int], now() - random() * interval '700 days'
FROM generate_series(1, 20000) i;

CREATE TABLE sessions (
	customer_id int PRIMARY KEY, token text NOT NULL, page text NOT NULL, hits int NOT NULL DEFAULT 1, seen_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0.05);

-- No index on product_id: the product page scans the whole table.
CREATE TABLE reviews (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, product_id int NOT NULL, customer_id int NOT NULL, stars int NOT NULL, body text NOT NULL);
INSERT INTO reviews (product_id, customer_id, stars, body)
SELECT 1 + (random() * 1999)::int, 1 + (random() * 19999)::int, 1 + (random() * 4)::int, repeat('Good, and delivered in time. ', 1 + i % 4)
FROM generate_series(1, 15000) i;

CREATE TABLE orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int NOT NULL, status text NOT NULL DEFAULT 'placed',
	total_cents int NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO orders (customer_id, status, total_cents, created_at)
SELECT 1 + (random() * 19999)::int, (ARRAY['shipped','shipped','shipped','returned','paid'])[1 + i % 5], 1000 + (random() * 50000)::int,
       now() - (25000 - i) * interval '100 seconds'
FROM generate_series(1, 25000) i;

CREATE TABLE order_items (
	order_id bigint NOT NULL REFERENCES orders ON DELETE CASCADE, product_id int NOT NULL, quantity int NOT NULL, price_cents int NOT NULL,
	PRIMARY KEY (order_id, product_id));
INSERT INTO order_items
SELECT o, 1 + (o * 7 + n * 613) % 2000, 1 + (o + n) % 3, 500 + (o * 37 + n * 911) % 60000
FROM generate_series(1, 25000) o, generate_series(1, 2) n
ON CONFLICT DO NOTHING;

CREATE INDEX orders_customer ON orders (customer_id);
CREATE INDEX orders_created ON orders (created_at);
CREATE INDEX orders_status_unused ON orders (status, total_cents); -- nobody reads it; every order pays for it

CREATE TABLE jobs (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, order_id bigint NOT NULL, run_at timestamptz NOT NULL DEFAULT now(), payload jsonb NOT NULL
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX jobs_run_at ON jobs (run_at);

CREATE MATERIALIZED VIEW daily_sales AS
	SELECT date_trunc('day', created_at) AS day, count(*) AS orders, sum(total_cents) AS cents FROM orders GROUP BY 1;
CREATE UNIQUE INDEX daily_sales_day ON daily_sales (day);

GRANT SELECT ON ALL TABLES IN SCHEMA public TO web, checkout, worker, reporting;
GRANT INSERT, UPDATE ON sessions, reviews TO web;
GRANT INSERT, UPDATE ON orders, order_items, stock, jobs TO checkout;
GRANT INSERT, UPDATE, DELETE ON jobs, orders, order_items, stock, sessions TO worker;
