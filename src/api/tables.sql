-- Keys of machines. Only a hash is kept: who reads the table, a dump or the log of
-- changes learns no key. A key has 244 random bits, so the hash needs no salt.
CREATE TABLE factory.api_key (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	name text NOT NULL CHECK (length(name) BETWEEN 1 AND 63),
	key_hash text NOT NULL UNIQUE,
	role name NOT NULL,
	claims jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(claims) = 'object'),
	created_by name NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	expires_at timestamptz,
	revoked_at timestamptz,
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE factory.api_key IS
'keys that machines show to factoryd as X-API-Key: their hashes, and the roles they act as';
SELECT pg_catalog.pg_extension_config_dump('factory.api_key', '');
REVOKE ALL ON factory.api_key FROM PUBLIC;
GRANT SELECT ON factory.api_key TO factory_admin;
