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
-- missing here. Exceptions are few, so they alone are taken tick by tick.
-- +goose StatementBegin
CREATE FUNCTION ledger_account(after timestamptz, until timestamptz, step interval DEFAULT NULL)
RETURNS TABLE ("time" timestamptz, instance_id bigint, database text, family text,
	planned bigint, stored bigint, failed bigint, skipped bigint, dropped bigint, pending bigint, missing bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY WITH span AS MATERIALIZED (
	SELECT lo, hi, CASE WHEN step IS NULL THEN greatest(hi - lo, 1) ELSE width END AS width,
		CASE WHEN step IS NULL THEN lo ELSE lo - lo % width END AS origin
	FROM (SELECT (extract(epoch FROM after) * 1000000)::bigint AS lo, (extract(epoch FROM least(until, now())) * 1000000)::bigint AS hi,
		(extract(epoch FROM step) * 1000000)::bigint AS width) w),
bucket AS (
	SELECT b AS id, greatest(b, s.lo) AS lo, least(b + s.width, s.hi) AS hi FROM span s, generate_series(s.origin, s.hi - 1, s.width) b),
segment AS MATERIALIZED (
	SELECT n.instance_id, n.database, n.family, n.collector_id, n.every_us AS every, (extract(epoch FROM n.valid_from) * 1000000)::bigint AS first,
		coalesce(least((extract(epoch FROM n.valid_to) * 1000000)::bigint, (extract(epoch FROM n.next) * 1000000)::bigint - 1), 9223372036854775807) AS last
	FROM (SELECT s.*, lead(s.valid_from) OVER (PARTITION BY s.instance_id, s.database, s.family ORDER BY s.valid_from) AS next FROM ledger_schedule s) n
	WHERE n.reason = '' AND n.every_us > 0 AND n.valid_from <= until AND (n.next IS NULL OR n.next > after) AND (n.valid_to IS NULL OR n.valid_to > after)),
plan AS (
	SELECT b.id, s.instance_id, s.database, s.family, (array_agg(s.collector_id ORDER BY s.first DESC))[1] AS collector_id,
		sum((w.hi - s.first + s.every) / s.every - (w.lo - s.first + s.every) / s.every)::bigint AS n
	FROM segment s JOIN bucket b ON b.hi >= s.first AND b.lo < s.last
	CROSS JOIN LATERAL (SELECT greatest(b.lo, s.first - 1) AS lo, least(b.hi, s.last) AS hi) w
	WHERE w.hi > w.lo GROUP BY 1, 2, 3, 4),
kept AS (
	SELECT l.id, l.instance_id, l.database, f.name AS family, sum(l.n)::bigint AS n
	FROM (SELECT s.origin + ((extract(epoch FROM r.time) * 1000000)::bigint - 1 - s.origin) / s.width * s.width AS id, r.instance_id, r.database, r.families, count(*) AS n
		FROM span s, (SELECT DISTINCT g.instance_id FROM segment g) i JOIN ledger r ON r.instance_id = i.instance_id
		WHERE r.time > after AND r.time <= least(until, now()) GROUP BY 1, 2, 3, 4) l,
	unnest(l.families) u (family_id) JOIN ledger_family f ON f.id = u.family_id GROUP BY 1, 2, 3, 4),
lost AS (
	SELECT DISTINCT ON (e.instance_id, e.database, e.family, t.tick) e.instance_id, e.database, e.family, e.outcome,
		p.origin + (t.tick - 1 - p.origin) / p.width * p.width AS id
	FROM span p, ledger_exception e
	CROSS JOIN LATERAL (SELECT (extract(epoch FROM e.first) * 1000000)::bigint AS first, (extract(epoch FROM CASE WHEN e.n = 1 THEN e.first ELSE e.last END) * 1000000)::bigint AS last) r
	CROSS JOIN LATERAL (SELECT CASE WHEN r.last <= r.first THEN 1 WHEN e.every_us > 0 THEN e.every_us ELSE greatest(1, (r.last - r.first) / (e.n - 1)) END AS every) v
	CROSS JOIN LATERAL generate_series(CASE WHEN r.first > p.lo THEN r.first ELSE r.first + ((p.lo - r.first) / v.every + 1) * v.every END, least(greatest(r.first, r.last), p.hi), v.every) t (tick)
	JOIN segment s ON s.instance_id = e.instance_id AND s.database = e.database AND s.family = e.family AND t.tick BETWEEN s.first AND s.last AND (t.tick - s.first) % s.every = 0
	WHERE e.last > after AND e.first <= until AND e.n > 0 AND e.outcome IN ('failed', 'skipped', 'dropped')
		AND NOT EXISTS (SELECT FROM ledger l JOIN ledger_family f ON f.id = ANY (l.families)
			WHERE l.instance_id = e.instance_id AND l.time = timestamptz 'epoch' + t.tick * interval '1 microsecond' AND l.database = e.database AND f.name = e.family)
	ORDER BY e.instance_id, e.database, e.family, t.tick, CASE e.outcome WHEN 'dropped' THEN 1 WHEN 'failed' THEN 2 ELSE 3 END),
tally AS (
	SELECT o.id, o.instance_id, o.database, o.family, count(*) FILTER (WHERE o.outcome = 'failed') AS failed,
		count(*) FILTER (WHERE o.outcome = 'skipped') AS skipped, count(*) FILTER (WHERE o.outcome = 'dropped') AS dropped
	FROM lost o GROUP BY 1, 2, 3, 4)
SELECT timestamptz 'epoch' + p.id * interval '1 microsecond', p.instance_id, p.database, p.family, p.n, c.stored, c.failed, c.skipped, c.dropped,
	CASE WHEN a.alive THEN c.rest ELSE 0 END, CASE WHEN a.alive THEN 0 ELSE c.rest END
FROM plan p
LEFT JOIN kept k USING (id, instance_id, database, family)
LEFT JOIN tally t USING (id, instance_id, database, family)
LEFT JOIN fleet_collector f ON f.id = p.collector_id
CROSS JOIN LATERAL (SELECT least(coalesce(k.n, 0), p.n) AS stored, coalesce(t.failed, 0) AS failed, coalesce(t.skipped, 0) AS skipped, coalesce(t.dropped, 0) AS dropped,
	greatest(p.n - coalesce(k.n, 0) - coalesce(t.failed + t.skipped + t.dropped, 0), 0) AS rest) c
CROSS JOIN LATERAL (SELECT coalesce(now() - f.last_push <= greatest(3 * f.interval_us, 60000000) * interval '1 microsecond', false) AS alive) a;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_account IS 'What became of the planned ticks in (after, until]: planned = stored + failed + skipped + dropped + pending + missing, for each (instance, database, family) and each step (NULL: the whole window); time is where a step begins. success = stored / (planned - pending).';

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
	ORDER BY valid_from DESC LIMIT 1) e ON true
LEFT JOIN LATERAL (SELECT l.time FROM ledger l WHERE l.instance_id = i.id AND l.time <= now() AND l.lane = 'fast' ORDER BY l.time DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT x.last, x.reason, x.detail FROM ledger_exception x WHERE x.instance_id = i.id AND x.last <= now() AND x.lane = 'fast' AND x.outcome = 'failed'
	ORDER BY x.last DESC LIMIT 1) f ON true;
END $$;
-- +goose StatementEnd
COMMENT ON FUNCTION ledger_status IS 'Every registered instance: up, down, or unknown when nobody has said anything lately; time is the newest outcome of its fast lane.';

-- +goose Down
DROP FUNCTION ledger_status, ledger_account, ledger_frames;
