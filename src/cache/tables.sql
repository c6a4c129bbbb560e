-- The second level of the cache.  Nothing in it is worth a WAL record or a dump.
CREATE UNLOGGED TABLE factory.cache_entry (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	key bytea NOT NULL,
	kind text NOT NULL,
	subject text NOT NULL,
	value bytea NOT NULL,
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, key)
);
COMMENT ON TABLE factory.cache_entry IS
'answers kept for a while; the key is a digest of all that the answer depends on';
CREATE INDEX cache_entry_expires_at ON factory.cache_entry (tenant_id, expires_at);
CREATE INDEX cache_entry_subject ON factory.cache_entry (tenant_id, kind, subject);
REVOKE ALL ON factory.cache_entry FROM PUBLIC;
