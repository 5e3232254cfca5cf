SELECT setseed(0.42);

CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL, balance_cents bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO accounts SELECT i, CASE i WHEN 0 THEN 'revenue' ELSE 'customer group ' || i END, 0 FROM generate_series(0, 100) i;

CREATE TABLE invoices (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, amount_cents int NOT NULL,
	status text NOT NULL DEFAULT 'open', issued_at timestamptz NOT NULL DEFAULT now());
INSERT INTO invoices (account_id, amount_cents, status, issued_at)
SELECT 1 + i % 100, 1000 + (random() * 50000)::int, CASE WHEN i % 20 = 0 THEN 'open' ELSE 'paid' END, now() - (20000 - i) * interval '2 minutes'
FROM generate_series(1, 20000) i;
CREATE INDEX invoices_open ON invoices (issued_at) WHERE status = 'open';

CREATE TABLE entries (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE, account_id int NOT NULL, cents bigint NOT NULL, booked_at timestamptz NOT NULL DEFAULT now());
INSERT INTO entries (invoice_id, account_id, cents, booked_at)
SELECT id, CASE side WHEN 0 THEN 0 ELSE account_id END, CASE side WHEN 0 THEN amount_cents ELSE -amount_cents END, issued_at
FROM invoices, generate_series(0, 1) side;
CREATE INDEX entries_invoice ON entries (invoice_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO billing;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reporting;
