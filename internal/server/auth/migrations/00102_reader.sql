-- Where both databases are one, default privileges give readers such as Grafana's role every table.
-- Sessions are the backend's alone, though only their hashes are kept.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
	reader record;
BEGIN
	FOR reader IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name
		FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'auth_session'::regclass AND a.grantee <> c.relowner LOOP
		EXECUTE format('REVOKE ALL ON auth_session FROM %s', reader.name);
	END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
