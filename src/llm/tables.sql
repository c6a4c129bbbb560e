-- Models: a name, the server it is called at, and what it costs.
CREATE TABLE factory.model (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	name text NOT NULL CHECK (name <> ''),
	server text NOT NULL,
	model text NOT NULL CHECK (model <> ''),
	input_price numeric CONSTRAINT model_input_price_is_no_credit CHECK (input_price >= 0),
	output_price numeric CONSTRAINT model_output_price_is_no_credit CHECK (output_price >= 0),
	tier int CHECK (tier >= 0),
	options jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(options) = 'object'),
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (tenant_id, name)
);
COMMENT ON TABLE factory.model IS
'models by name; prices are US dollars per million tokens, NULL where unknown';
REVOKE ALL ON factory.model FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON factory.model TO factory_admin;
GRANT SELECT ON factory.model TO factory_author, factory_operator, factory_analyst, factory_monitor;
SELECT pg_catalog.pg_extension_config_dump('factory.model', '');

-- The ledger.  No answer is ever written here, and a prompt only where factory.log_prompts
-- says so.  No index on the parent, and a default partition, as the judgment log has them.
CREATE TABLE factory.llm_call (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	called_at timestamptz NOT NULL,
	called_by name NOT NULL,
	purpose text NOT NULL,
	subject text,
	execution_id uuid,
	model text NOT NULL,
	provider_model text,
	server text,
	prompt_tokens bigint NOT NULL,
	completion_tokens bigint NOT NULL,
	total_tokens bigint NOT NULL GENERATED ALWAYS AS (prompt_tokens + completion_tokens) STORED,
	cost_usd numeric,
	latency_ms float8 NOT NULL,
	attempts int NOT NULL,
	success boolean NOT NULL GENERATED ALWAYS AS (outcome = 'ok') STORED,
	outcome text NOT NULL,
	reason text,
	prompt text
) PARTITION BY RANGE (called_at);
COMMENT ON TABLE factory.llm_call IS
'calls to models: who, what for, tokens, cost and outcome; no answer, and no prompt unless factory.log_prompts is on';
CREATE TABLE factory.llm_call_default PARTITION OF factory.llm_call DEFAULT;
CREATE INDEX llm_call_called_at ON factory.llm_call_default (tenant_id, called_at);
REVOKE ALL ON factory.llm_call, factory.llm_call_default FROM PUBLIC;
GRANT SELECT ON factory.llm_call TO factory_admin, factory_monitor;
SELECT pg_catalog.pg_extension_config_dump('factory.llm_call', '');
SELECT pg_catalog.pg_extension_config_dump('factory.llm_call_default', '');

-- What may be used: by all of the tenant, by a role, or of a model.
CREATE TABLE factory.llm_budget (
	tenant_id text NOT NULL DEFAULT factory.current_tenant(),
	kind text NOT NULL CHECK (kind IN ('tenant', 'role', 'model')),
	name text NOT NULL CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63),
	period text NOT NULL CHECK (period IN ('day', 'month')),
	tokens bigint CHECK (tokens >= 0),
	cost_usd numeric CHECK (cost_usd >= 0),
	PRIMARY KEY (tenant_id, kind, name, period),
	CONSTRAINT llm_budget_limits_something CHECK (tokens IS NOT NULL OR cost_usd IS NOT NULL)
);
COMMENT ON TABLE factory.llm_budget IS
'what the tenant, a role or a model may take a day or a month; a limit that is null is none';
REVOKE ALL ON factory.llm_budget FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON factory.llm_budget TO factory_admin;
GRANT SELECT ON factory.llm_budget TO factory_operator, factory_monitor;
SELECT pg_catalog.pg_extension_config_dump('factory.llm_budget', '');

CREATE FUNCTION factory.llm_validator(options text[], catalog oid) RETURNS void
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_llm_validator';
COMMENT ON FUNCTION factory.llm_validator(text[], oid) IS
'checks the options of servers and user mappings of factory_llm';
REVOKE ALL ON FUNCTION factory.llm_validator(text[], oid) FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER factory_llm NO HANDLER VALIDATOR factory.llm_validator;
COMMENT ON FOREIGN DATA WRAPPER factory_llm IS
'servers that language models are called at';
GRANT USAGE ON FOREIGN DATA WRAPPER factory_llm TO factory_admin;
