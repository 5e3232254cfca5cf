-- The ledger for SQL: Grafana, `psql`, anyone. What the API computes in Go, in the same terms; the
-- tests of internal/tool/dashboard hold the two against each other. Functions in plpgsql name tables of
-- other packages only when they run.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION ledger_frames(instance_id bigint, family text, after timestamptz, until timestamptz)
RETURNS TABLE (database text, tick timestamptz, since timestamptz, at timestamptz)
LANGUAGE sql STABLE AS $$
SELECT l.database, l.time,
	l.time + (l.at_ms[least(p.i, cardinality(l.at_ms))] - l.since_ms[least(p.i, cardinality(l.since_ms))]) * interval '1 millisecond',
	l.time + l.at_ms[least(p.i, cardinality(l.at_ms))] * interval '1 millisecond'
FROM ledger l, array_position(l.families, (SELECT f.id FROM ledger_family f WHERE f.name = ledger_frames.family)) p (i)
WHERE l.instance_id = ledger_frames.instance_id AND l.time > after AND l.time <= until AND p.i IS NOT NULL
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_frames IS 'When a family of an instance was read at its stored ticks in (after, until]. A rate is sum(delta) / sum(at - since); a tick without a row counted 0; since = at: the read only set baselines.';

-- planned is arithmetic over the schedules, never a sum of outcomes: what is registered but silent is
-- missing here. Exceptions are few, so they alone are taken tick by tick. What became of a tick that
-- nothing is known of depends on its collector: it is pending from where on that one may still deliver,
-- if it lives. Ticks before that are counted apart (gone); of an instance that changed hands, up to the
-- last of either collector.
-- A schedule without an end of its own ends where the next such one begins; those with one may overlap.

-- +goose StatementBegin
CREATE FUNCTION ledger_plan(after timestamptz, until timestamptz)
RETURNS TABLE (instance_id bigint, database text, family text, first bigint, last bigint, every bigint, kept bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY SELECT s.instance_id, s.database, s.family, (extract(epoch FROM s.valid_from) * 1000000)::bigint,
	coalesce(least((extract(epoch FROM s.valid_to) * 1000000)::bigint, (extract(epoch FROM s.next) * 1000000)::bigint - 1), 9223372036854775807), s.every_us,
	CASE WHEN now() - c.last_push <= greatest(3 * c.interval_us, 60000000) * interval '1 microsecond' THEN coalesce((extract(epoch FROM k.since) * 1000000)::bigint, 0) ELSE 9223372036854775807 END
FROM (SELECT p.*, CASE WHEN p.valid_to IS NULL THEN min(p.valid_from) FILTER (WHERE p.valid_to IS NULL) OVER (
		PARTITION BY p.instance_id, p.database, p.family ORDER BY p.valid_from DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) END AS next
	FROM ledger_schedule p) s
LEFT JOIN fleet_collector c ON c.id = s.collector_id LEFT JOIN fleet_kept k ON k.collector_id = s.collector_id
WHERE s.reason = '' AND s.every_us > 0 AND s.valid_from <= until AND (s.next IS NULL OR s.next > after) AND (s.valid_to IS NULL OR s.valid_to > after);
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_plan IS 'Schedules that hold in (after, until]: ticks are planned at first + k x every, k >= 0, up to last; microseconds since 1970. From kept on the collector may still deliver.';

-- +goose StatementBegin
CREATE FUNCTION ledger_lost(after timestamptz, until timestamptz)
RETURNS TABLE (instance_id bigint, database text, family text, tick timestamptz, outcome text)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
	lo bigint := (extract(epoch FROM after) * 1000000)::bigint;
	hi bigint := (extract(epoch FROM least(until, now())) * 1000000)::bigint;
BEGIN
RETURN QUERY WITH run AS (
	SELECT e.*, r.first_us, greatest(r.first_us, r.last_us) AS last_us, CASE WHEN r.last_us <= r.first_us THEN 1 WHEN e.every_us > 0 THEN e.every_us ELSE greatest(1, (r.last_us - r.first_us) / (e.n - 1)) END AS step
	FROM ledger_exception e
	CROSS JOIN LATERAL (SELECT (extract(epoch FROM e.first) * 1000000)::bigint AS first_us, (extract(epoch FROM CASE WHEN e.n = 1 THEN e.first ELSE e.last END) * 1000000)::bigint AS last_us) r
	WHERE e.last > after AND e.first <= until AND e.n > 0 AND e.outcome IN ('failed', 'skipped', 'dropped'))
SELECT DISTINCT ON (r.instance_id, r.database, r.family, t.us) r.instance_id, r.database, r.family, at.tick, r.outcome
FROM run r
CROSS JOIN LATERAL generate_series(CASE WHEN r.first_us > lo THEN r.first_us ELSE r.first_us + ((lo - r.first_us) / r.step + 1) * r.step END, least(r.last_us, hi), r.step) t (us)
CROSS JOIN LATERAL (SELECT timestamptz 'epoch' + t.us * interval '1 microsecond' AS tick) at
JOIN ledger_plan(after, until) p ON p.instance_id = r.instance_id AND p.database = r.database AND p.family = r.family AND t.us BETWEEN p.first AND p.last AND (t.us - p.first) % p.every = 0
WHERE NOT EXISTS (SELECT FROM ledger l JOIN ledger_family f ON f.id = ANY (l.families)
	WHERE l.instance_id = r.instance_id AND l.time = at.tick AND l.database = r.database AND f.name = r.family)
ORDER BY r.instance_id, r.database, r.family, t.us, CASE r.outcome WHEN 'dropped' THEN 1 WHEN 'failed' THEN 2 ELSE 3 END;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_lost IS 'The planned ticks in (after, until] that failed, were skipped or dropped; one that was stored as well is not among them.';

-- +goose StatementBegin
CREATE FUNCTION ledger_account(after timestamptz, until timestamptz)
RETURNS TABLE (instance_id bigint, database text, family text, planned bigint, stored bigint, failed bigint, skipped bigint, dropped bigint, pending bigint, missing bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
	lo bigint := (extract(epoch FROM after) * 1000000)::bigint;
	hi bigint := (extract(epoch FROM least(until, now())) * 1000000)::bigint;
BEGIN
RETURN QUERY WITH plan AS (
	SELECT s.instance_id, s.database, s.family, sum(c.n)::bigint AS n, sum(c.gone)::bigint AS gone, max(w.gone) FILTER (WHERE w.gone > w.lo) AS upto
	FROM ledger_plan(after, until) s
	CROSS JOIN LATERAL (SELECT greatest(lo, s.first - 1) AS lo, least(hi, s.last) AS hi, greatest(lo, s.first - 1, least(hi, s.last, s.kept - 1)) AS gone) w
	CROSS JOIN LATERAL (SELECT (w.hi - s.first + s.every) / s.every - (w.lo - s.first + s.every) / s.every AS n,
		(w.gone - s.first + s.every) / s.every - (w.lo - s.first + s.every) / s.every AS gone) c
	WHERE w.hi > w.lo GROUP BY 1, 2, 3),
bound AS (SELECT p.instance_id, timestamptz 'epoch' + max(p.upto) * interval '1 microsecond' AS upto FROM plan p GROUP BY 1),
kept AS (
	SELECT l.instance_id, l.database, f.name AS family, sum(l.n)::bigint AS n, sum(l.gone)::bigint AS gone
	FROM (SELECT r.instance_id, r.database, r.families, count(*) AS n, count(*) FILTER (WHERE r.time <= i.upto) AS gone FROM bound i JOIN ledger r ON r.instance_id = i.instance_id
		WHERE r.time > after AND r.time <= least(until, now()) GROUP BY 1, 2, 3) l,
	unnest(l.families) u (id) JOIN ledger_family f ON f.id = u.id GROUP BY 1, 2, 3),
lost AS (
	SELECT o.instance_id, o.database, o.family, count(*) FILTER (WHERE o.outcome = 'failed') AS failed,
		count(*) FILTER (WHERE o.outcome = 'skipped') AS skipped, count(*) FILTER (WHERE o.outcome = 'dropped') AS dropped, count(*) FILTER (WHERE o.tick <= b.upto) AS gone
	FROM ledger_lost(after, until) o JOIN bound b USING (instance_id) GROUP BY 1, 2, 3)
SELECT p.instance_id, p.database, p.family, p.n, least(coalesce(k.n, 0), p.n), coalesce(x.failed, 0), coalesce(x.skipped, 0), coalesce(x.dropped, 0),
	c.rest - least(c.rest, c.gone), least(c.rest, c.gone)
FROM plan p
LEFT JOIN kept k ON k.instance_id = p.instance_id AND k.database = p.database AND k.family = p.family
LEFT JOIN lost x ON x.instance_id = p.instance_id AND x.database = p.database AND x.family = p.family
CROSS JOIN LATERAL (SELECT greatest(p.n - coalesce(k.n, 0) - coalesce(x.failed + x.skipped + x.dropped, 0), 0) AS rest,
	greatest(p.gone - coalesce(k.gone, 0) - coalesce(x.gone, 0), 0) AS gone) c;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_account IS 'What became of the planned ticks in (after, until], by instance, database and family: planned = stored + failed + skipped + dropped + pending + missing. success = stored / (planned - pending).';

-- +goose StatementBegin
CREATE FUNCTION ledger_outcomes(after timestamptz, until timestamptz, step interval, instance bigint DEFAULT NULL)
RETURNS TABLE ("time" timestamptz, instance_id bigint, planned bigint, stored bigint, failed bigint, skipped bigint, dropped bigint, pending bigint, missing bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
	lo bigint := (extract(epoch FROM after) * 1000000)::bigint;
	hi bigint := (extract(epoch FROM least(until, now())) * 1000000)::bigint;
	width bigint := (extract(epoch FROM step) * 1000000)::bigint;
BEGIN
RETURN QUERY WITH bucket AS (
	SELECT timestamptz 'epoch' + b * interval '1 microsecond' AS start, greatest(b, lo) AS lo, least(b + width, hi) AS hi FROM generate_series(lo - lo % width, hi - 1, width) b),
segment AS MATERIALIZED (
	SELECT s.instance_id, s.first, s.last, s.every, s.kept, count(*) AS keys FROM ledger_plan(after, until) s WHERE instance IS NULL OR s.instance_id = instance GROUP BY 1, 2, 3, 4, 5),
plan AS (
	SELECT b.start, s.instance_id, sum(s.keys * c.n)::bigint AS n, sum(s.keys * c.gone)::bigint AS gone, max(w.gone) FILTER (WHERE w.gone > w.lo) AS upto
	FROM segment s JOIN bucket b ON b.hi >= s.first AND b.lo < s.last
	CROSS JOIN LATERAL (SELECT greatest(b.lo, s.first - 1) AS lo, least(b.hi, s.last) AS hi, greatest(b.lo, s.first - 1, least(b.hi, s.last, s.kept - 1)) AS gone) w
	CROSS JOIN LATERAL (SELECT (w.hi - s.first + s.every) / s.every - (w.lo - s.first + s.every) / s.every AS n,
		(w.gone - s.first + s.every) / s.every - (w.lo - s.first + s.every) / s.every AS gone) c
	WHERE w.hi > w.lo GROUP BY 1, 2),
bound AS (SELECT p.instance_id, timestamptz 'epoch' + max(p.upto) * interval '1 microsecond' AS upto FROM plan p GROUP BY 1),
kept AS (
	SELECT date_bin(step, r.time - interval '1 microsecond', timestamptz 'epoch') AS start, r.instance_id, sum(cardinality(r.families))::bigint AS n,
		coalesce(sum(cardinality(r.families)) FILTER (WHERE r.time <= i.upto), 0)::bigint AS gone
	FROM bound i JOIN ledger r ON r.instance_id = i.instance_id
	WHERE r.time > after AND r.time <= least(until, now()) GROUP BY 1, 2),
lost AS (
	SELECT date_bin(step, o.tick - interval '1 microsecond', timestamptz 'epoch') AS start, o.instance_id, count(*) FILTER (WHERE o.outcome = 'failed') AS failed,
		count(*) FILTER (WHERE o.outcome = 'skipped') AS skipped, count(*) FILTER (WHERE o.outcome = 'dropped') AS dropped, count(*) FILTER (WHERE o.tick <= b.upto) AS gone
	FROM ledger_lost(after, until) o JOIN bound b USING (instance_id) WHERE instance IS NULL OR o.instance_id = instance GROUP BY 1, 2)
SELECT p.start, p.instance_id, p.n, least(coalesce(k.n, 0), p.n), coalesce(x.failed, 0), coalesce(x.skipped, 0), coalesce(x.dropped, 0),
	c.rest - least(c.rest, c.gone), least(c.rest, c.gone)
FROM plan p
LEFT JOIN kept k ON k.start = p.start AND k.instance_id = p.instance_id
LEFT JOIN lost x ON x.start = p.start AND x.instance_id = p.instance_id
CROSS JOIN LATERAL (SELECT greatest(p.n - coalesce(k.n, 0) - coalesce(x.failed + x.skipped + x.dropped, 0), 0) AS rest,
	greatest(p.gone - coalesce(k.gone, 0) - coalesce(x.gone, 0), 0) AS gone) c;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_outcomes IS 'What ledger_account tells, over all databases and families, by instance (or of the one) and step; time is where a step begins.';

-- +goose StatementBegin
CREATE FUNCTION ledger_status()
RETURNS TABLE (instance_id bigint, instance text, version text, collector text, labels jsonb, status text, "time" timestamptz, detail text)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY SELECT i.id, i.name, i.version, c.name, i.labels,
	CASE WHEN greatest(s.time, f.last) IS NULL OR greatest(s.time, f.last) < now() - greatest(3 * e.every_us, 30000000) * interval '1 microsecond' THEN 'unknown'
		WHEN f.last > coalesce(s.time, '-infinity') AND f.reason = 'connect' THEN 'down' ELSE 'up' END,
	greatest(s.time, f.last), CASE WHEN f.last > coalesce(s.time, '-infinity') THEN f.detail ELSE '' END
FROM fleet_instance i JOIN fleet_collector c ON c.id = i.collector_id
LEFT JOIN LATERAL (SELECT every_us FROM ledger_schedule WHERE instance_id = i.id AND lane = 'fast' AND reason = '' AND valid_from <= now()
	ORDER BY (valid_to IS NULL OR valid_to >= now()) DESC, valid_from DESC LIMIT 1) e ON true
LEFT JOIN LATERAL (SELECT l.time FROM ledger l WHERE l.instance_id = i.id AND l.time <= now() AND l.lane = 'fast' ORDER BY l.time DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT x.last, x.reason, x.detail FROM ledger_exception x WHERE x.instance_id = i.id AND x.last <= now() AND x.lane = 'fast' AND x.outcome = 'failed'
	ORDER BY x.last DESC LIMIT 1) f ON true;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_status IS 'Every registered instance: up, down, or unknown when nobody has said anything lately; time is the newest outcome of its fast lane.';

-- +goose Down
DROP FUNCTION ledger_status, ledger_outcomes, ledger_account, ledger_lost, ledger_plan, ledger_frames;
