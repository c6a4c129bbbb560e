-- The second level of the cache.  Nothing in it is worth a WAL record or a dump.
CREATE UNLOGGED TABLE factory.cache_entry (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	key bytea NOT NULL,
	kind text NOT NULL,
	subject text NOT NULL,
	value bytea NOT NULL,
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE factory.cache_entry IS
'answers kept for a while; the key is a digest of all that the answer depends on, the newest of a key counts';
-- Not unique: who keeps an answer is not to wait for another who keeps one.
CREATE INDEX cache_entry_key ON factory.cache_entry (tenant_id, key);
CREATE INDEX cache_entry_expires_at ON factory.cache_entry (tenant_id, expires_at);
CREATE INDEX cache_entry_subject ON factory.cache_entry (tenant_id, kind, subject);
REVOKE ALL ON factory.cache_entry FROM PUBLIC;

-- Marks that answers are kept under; '' stands for all.  They stay when a tenant goes: no later
-- one of its name is to find what was kept for it.  Whoever knows them could bring us answers by
-- Redis: they are the house's alone, and no dump has them.
CREATE TABLE factory.cache_generation (
	tenant text NOT NULL,
	kind text NOT NULL,
	subject text NOT NULL,
	generation uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	PRIMARY KEY (tenant, kind, subject, generation)
);
COMMENT ON TABLE factory.cache_generation IS
'marks of the cache''s scopes, which keys are made of; to empty is to add one';
REVOKE ALL ON factory.cache_generation FROM PUBLIC;
INSERT INTO factory.cache_generation (tenant, kind, subject) VALUES ('', '', '');
