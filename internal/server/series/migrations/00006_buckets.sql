-- Rates and averages for SQL: which frames count in which bucket of a chart. The tables of families
-- come after migrations, so these functions name them only when they run.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION series_databases(instance bigint) RETURNS TABLE (oid bigint, name text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT l.datid, coalesce(l.datname, ''), CASE WHEN row_number() OVER w = 1 THEN '-infinity' ELSE l.valid_from END, coalesce(lead(l.valid_from) OVER w, 'infinity')
	FROM database_label l WHERE l.instance_id = instance WINDOW w AS (PARTITION BY l.datid ORDER BY l.valid_from);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION series_databases IS 'Names of an instance''s databases: what has this oid at t is called name where valid_from <= t < valid_to; before the first name is known, the first.';

-- +goose StatementBegin
CREATE FUNCTION series_roles(instance bigint) RETURNS TABLE (oid bigint, name text, valid_from timestamptz, valid_to timestamptz)
LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN QUERY SELECT r.oid, r.rolname, CASE WHEN row_number() OVER w = 1 THEN '-infinity' ELSE r.time END, coalesce(lead(r.time) OVER w, 'infinity')
	FROM roles_raw r WHERE r.instance_id = instance AND r.rolname IS NOT NULL WINDOW w AS (PARTITION BY r.oid ORDER BY r.time);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION series_roles IS 'Names of an instance''s roles, as series_databases gives those of databases.';

-- A bucket shows the frames whose tick it holds (it is open where it begins, closed where it ends);
-- one that holds none shows the frame that covers most of it, so a frame longer than a bucket fills
-- all that it covers. What nothing covers is a gap: a row without a tick.
-- +goose StatementBegin
CREATE FUNCTION series_buckets(instance text, family text, after timestamptz, until timestamptz, step_ms numeric, gauge boolean DEFAULT false)
RETURNS TABLE ("time" timestamptz, database text, tick timestamptz, seconds double precision, absent text[], every interval)
LANGUAGE plpgsql STABLE AS $$
DECLARE
	id bigint;
	step interval;
	lacks text[];
	planned interval;
	sums regclass := to_regclass(quote_ident(family || '_sum'));
	dropped text := '';
BEGIN
	SELECT i.id INTO id FROM fleet_instance i WHERE i.name = instance;
	IF id IS NULL THEN
		RETURN;
	END IF;
	SELECT s.every_us * interval '1 microsecond', s.absent INTO planned, lacks FROM ledger_schedule s
	WHERE s.instance_id = id AND s.family = series_buckets.family AND s.reason = '' AND s.valid_from <= until
	ORDER BY (s.valid_to IS NULL OR s.valid_to >= until) DESC, s.valid_from DESC LIMIT 1;
	planned := coalesce(planned, interval '0');
	step := greatest(greatest(step_ms, 1) * interval '1 millisecond', planned);
	-- Frames of which only sums are left count with these.
	IF NOT gauge AND sums IS NOT NULL THEN
		IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = sums AND a.attname = 'datid' AND NOT a.attisdropped) THEN
			dropped := format($sql$UNION SELECT coalesce(n.name, 'oid:' || r.datid), r.time, r.since, r.at FROM %s r
		LEFT JOIN series_databases($1) n ON n.oid = r.datid AND r.time >= n.valid_from AND r.time < n.valid_to$sql$, sums);
		ELSE
			dropped := format($sql$UNION SELECT '', r.time, r.since, r.at FROM %s r$sql$, sums);
		END IF;
		dropped := dropped || ' WHERE r.kind = 2 AND r.instance_id = $1 AND r.time > $3 AND r.time <= $4';
	END IF;
	RETURN QUERY EXECUTE format($sql$
WITH grid AS (
	SELECT b FROM generate_series(date_bin($5, $3, timestamptz 'epoch'), least($4, now()) - interval '1 microsecond', $5) b),
frame AS (
	SELECT f.database, f.tick, CASE WHEN $6 THEN f.tick - $7 ELSE f.since END AS since, CASE WHEN $6 THEN f.tick ELSE f.at END AS at,
		date_bin($5, f.tick - interval '1 microsecond', timestamptz 'epoch') AS home
	FROM (SELECT * FROM ledger_frames($1, $2, $3, $4) %s) f (database, tick, since, at) WHERE $6 OR f.at > f.since),
empty AS (
	SELECT g.b, d.database FROM grid g CROSS JOIN (SELECT DISTINCT f.database FROM frame f) d
	EXCEPT SELECT f.home, f.database FROM frame f),
shown AS (
	SELECT f.home AS b, f.database, f.tick, f.since, f.at FROM frame f
	UNION ALL
	SELECT e.b, e.database, f.tick, f.since, f.at FROM empty e JOIN frame f ON f.database = e.database
		AND f.at - f.since > $5 / 2 AND least(f.at, e.b + $5) - greatest(f.since, e.b) > $5 / 2)
SELECT g.b, s.database, s.tick, extract(epoch FROM s.at - s.since)::double precision, $8::text[], $7
FROM grid g LEFT JOIN shown s USING (b)$sql$, dropped)
	USING id, family, after, until, step, gauge, planned, lacks;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION series_buckets IS 'Frames of a family of an instance for a chart with steps of step_ms, at least the family''s interval: time is where the bucket begins, tick joins rows of <family>_raw and <family>_sum, seconds is at - since, absent are the columns that the server lacks. A bucket without a tick is a gap. gauge: values count though their read had no baseline.';

-- +goose Down
DROP FUNCTION series_buckets, series_roles, series_databases;
