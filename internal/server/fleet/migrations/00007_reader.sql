-- Default privileges give readers such as Grafana's role every table that is made. What a collector
-- signs in with is the backend's alone, though only a hash of it is kept.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
	reader record;
BEGIN
	FOR reader IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name
		FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'fleet_collector'::regclass AND a.grantee <> c.relowner AND a.privilege_type = 'SELECT' LOOP
		EXECUTE format('REVOKE SELECT ON fleet_collector FROM %s', reader.name);
		EXECUTE format('GRANT SELECT (id, name, version, hostname, interval_us, registered, last_push, newest_tick) ON fleet_collector TO %s', reader.name);
	END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
