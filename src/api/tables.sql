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

-- A parameter of this type begins a request: reading it does what begin_request() does,
-- before the statement that it is a parameter of. Its text form is refused, so that no
-- literal and no cast makes one; nobody may have columns, arguments or domains of it.
CREATE TYPE factory.request;
CREATE FUNCTION factory.request_in(cstring) RETURNS factory.request
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_request_in';
COMMENT ON FUNCTION factory.request_in(cstring) IS 'refuses: a request is not written as text';
CREATE FUNCTION factory.request_out(factory.request) RETURNS cstring
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_request_out';
COMMENT ON FUNCTION factory.request_out(factory.request) IS 'the word "request"';
CREATE FUNCTION factory.request_receive(internal) RETURNS factory.request
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_request_receive';
COMMENT ON FUNCTION factory.request_receive(internal) IS
'reads a parameter, and makes the session act as the request''s role, with its claims';
CREATE TYPE factory.request (
	INPUT = factory.request_in, OUTPUT = factory.request_out, RECEIVE = factory.request_receive,
	INTERNALLENGTH = 1, PASSEDBYVALUE, ALIGNMENT = char
);
COMMENT ON TYPE factory.request IS
'the parameter by which factoryd says who asks and what for: search path, limits, claims, method, path, headers, role, tenant';
REVOKE ALL ON TYPE factory.request FROM PUBLIC;
REVOKE ALL ON FUNCTION factory.request_in(cstring), factory.request_out(factory.request) FROM PUBLIC;
