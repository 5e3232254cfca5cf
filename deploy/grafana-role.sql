-- The role that Grafana reads the metrics database with. Run it with psql, connected to that database
-- as a superuser or as the owner of its tables, before the first migration or at any time after it:
--
--     psql -v ON_ERROR_STOP=1 -v grafana_password="$(cat FILE)" -d metrics -f deploy/grafana-role.sql
--
-- Tables belong to whom the backend connects as (TIMESCALE_URL): the database's owner, unless
-- -v owner=ROLE says another. Running it again changes the password and repairs the grants.

\if :{?owner}
\else
	SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = current_database() \gset
\endif

DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') THEN
		CREATE ROLE grafana;
	END IF;
END $$;
ALTER ROLE grafana WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20 PASSWORD :'grafana_password';
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
ALTER ROLE grafana SET lock_timeout = '5s';
ALTER ROLE grafana SET idle_in_transaction_session_timeout = '30s';

GRANT CONNECT ON DATABASE :"DBNAME" TO grafana;
GRANT USAGE ON SCHEMA public TO grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO grafana;
-- What migrations add later.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO grafana;

-- Hashes of what collectors and browsers sign in with are the backend's alone.
DO $$
BEGIN
	IF to_regclass('public.fleet_collector') IS NOT NULL THEN
		REVOKE SELECT ON fleet_collector FROM grafana;
		GRANT SELECT (id, name, version, hostname, interval_us, registered, last_push, newest_tick) ON fleet_collector TO grafana;
	END IF;
	IF to_regclass('public.auth_session') IS NOT NULL THEN
		REVOKE SELECT ON auth_session FROM grafana;
	END IF;
END $$;
