CREATE OR REPLACE FUNCTION factory.check_model_options(options jsonb) RETURNS void
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_check_model_options';
COMMENT ON FUNCTION factory.check_model_options(jsonb) IS
'raises where an option of a model is unknown or its value is not valid';
REVOKE ALL ON FUNCTION factory.check_model_options(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.check_model_options(jsonb) TO factory_admin;

CREATE OR REPLACE FUNCTION factory.check_model_server(server text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
			   WHERE s.srvname = check_model_server.server AND w.fdwname = 'factory_llm') THEN
		RETURN;
	END IF;
	RAISE EXCEPTION 'there is no model server "%"', server
		USING ERRCODE = 'undefined_object',
			  HINT = format('Create it: CREATE SERVER %I FOREIGN DATA WRAPPER factory_llm '
							'OPTIONS (provider ''openai'', base_url ''https://...'');', server);
END
$$;
COMMENT ON FUNCTION factory.check_model_server(text) IS
'raises where there is no server of that name in foreign data wrapper factory_llm';
REVOKE ALL ON FUNCTION factory.check_model_server(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.check_model_server(text) TO factory_admin;

CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.model
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('model', 'name');

-- Another model behind the same name answers otherwise, and a new one may stand on a ladder.
CREATE OR REPLACE TRIGGER cache_outdated AFTER INSERT OR UPDATE OR DELETE ON factory.model
	FOR EACH ROW EXECUTE FUNCTION factory.cache_outdated('judgment');

-- Row by row: changes that are replicated fire no other triggers.
CREATE OR REPLACE TRIGGER rows_changed AFTER INSERT OR UPDATE OR DELETE ON factory.model
	FOR EACH ROW EXECUTE FUNCTION factory.rows_changed();
CREATE OR REPLACE TRIGGER rows_truncated AFTER TRUNCATE ON factory.model
	FOR EACH STATEMENT EXECUTE FUNCTION factory.rows_changed();
ALTER TABLE factory.model ENABLE ALWAYS TRIGGER rows_changed, ENABLE ALWAYS TRIGGER rows_truncated;

CREATE OR REPLACE FUNCTION factory.create_model(name text, server text, model text,
	input_price numeric = NULL, output_price numeric = NULL, tier int = NULL,
	options jsonb = NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM factory.check_model_server(create_model.server);
	PERFORM factory.check_model_options(create_model.options);
	INSERT INTO factory.model (name, server, model, input_price, output_price, tier, options)
	VALUES (create_model.name, create_model.server, create_model.model, create_model.input_price,
			create_model.output_price, create_model.tier, coalesce(create_model.options, '{}'))
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'model "%" already exists', name
			USING ERRCODE = 'duplicate_object',
				  HINT = 'Change it with factory.alter_model(), or remove it with factory.drop_model().';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.create_model(text, text, text, numeric, numeric, int, jsonb) IS
'names a model of a server; prices are US dollars per million tokens';
REVOKE ALL ON FUNCTION factory.create_model(text, text, text, numeric, numeric, int, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.create_model(text, text, text, numeric, numeric, int, jsonb)
TO factory_admin;

CREATE OR REPLACE FUNCTION factory.alter_model(name text, server text = NULL, model text = NULL,
	input_price numeric = NULL, output_price numeric = NULL, tier int = NULL,
	options jsonb = NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF alter_model.server IS NOT NULL THEN
		PERFORM factory.check_model_server(alter_model.server);
	END IF;
	PERFORM factory.check_model_options(alter_model.options);
	UPDATE factory.model m
	SET server = coalesce(alter_model.server, m.server),
		model = coalesce(alter_model.model, m.model),
		input_price = coalesce(alter_model.input_price, m.input_price),
		output_price = coalesce(alter_model.output_price, m.output_price),
		tier = coalesce(alter_model.tier, m.tier),
		options = coalesce(alter_model.options, m.options)
	WHERE m.tenant_id = factory.current_tenant() AND m.name = alter_model.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'model "%" does not exist', name
			USING ERRCODE = 'PF205', HINT = 'Table factory.model lists the models.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.alter_model(text, text, text, numeric, numeric, int, jsonb) IS
'changes what is given, leaves what is NULL; options are replaced as a whole';
REVOKE ALL ON FUNCTION factory.alter_model(text, text, text, numeric, numeric, int, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.alter_model(text, text, text, numeric, numeric, int, jsonb)
TO factory_admin;

CREATE OR REPLACE FUNCTION factory.drop_model(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM factory.model m
	WHERE m.tenant_id = factory.current_tenant() AND m.name = drop_model.name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'model "%" does not exist', name
			USING ERRCODE = 'PF205', HINT = 'Table factory.model lists the models.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.drop_model(text) IS
'forgets a model; its server and the ledger stay';
REVOKE ALL ON FUNCTION factory.drop_model(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.drop_model(text) TO factory_admin;

CREATE OR REPLACE FUNCTION factory.complete(model text, prompt text, system text = NULL,
	schema jsonb = NULL, options jsonb = NULL) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_complete';
COMMENT ON FUNCTION factory.complete(text, text, text, jsonb, jsonb) IS
'asks a model and waits: text, json (where a schema is given), usage, cost_usd, latency_ms, attempts, model';
REVOKE ALL ON FUNCTION factory.complete(text, text, text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.complete(text, text, text, jsonb, jsonb)
TO factory_admin, factory_author, factory_operator, factory_analyst;

CREATE OR REPLACE FUNCTION factory.complete_many(model text, query text, prompt text = NULL,
	system text = NULL, schema jsonb = NULL, options jsonb = NULL, concurrency int = 16)
RETURNS TABLE (row_number bigint, answer jsonb, error text, sqlstate text, same_as bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000
AS 'MODULE_PATHNAME', 'factory_complete_many';
COMMENT ON FUNCTION factory.complete_many(text, text, text, text, jsonb, jsonb, int) IS
'asks a model once for each different row of a query, many at once; rows in order, an error is its row''s own; same_as is the row that was asked instead';
REVOKE ALL ON FUNCTION factory.complete_many(text, text, text, text, jsonb, jsonb, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.complete_many(text, text, text, text, jsonb, jsonb, int)
TO factory_admin, factory_author, factory_operator, factory_analyst;

CREATE OR REPLACE FUNCTION factory.render_template(template text, "values" jsonb) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_render_template';
COMMENT ON FUNCTION factory.render_template(text, jsonb) IS
'fills each {{ path }} of a prompt template, as a judgment does';
REVOKE ALL ON FUNCTION factory.render_template(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.render_template(text, jsonb)
TO factory_admin, factory_author, factory_operator, factory_analyst;

CREATE OR REPLACE FUNCTION factory.check_schema(schema jsonb, value jsonb) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_check_schema';
COMMENT ON FUNCTION factory.check_schema(jsonb, jsonb) IS
'NULL where the value fits the JSON schema, else what is wrong and where';
REVOKE ALL ON FUNCTION factory.check_schema(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.check_schema(jsonb, jsonb)
TO factory_admin, factory_author, factory_operator, factory_analyst;

CREATE OR REPLACE FUNCTION factory.breakers(OUT server text, OUT state text, OUT calls int,
	OUT failures int, OUT since timestamptz, OUT open_until timestamptz, OUT rejected bigint,
	OUT opened bigint, OUT retries_left int) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED STRICT
AS 'MODULE_PATHNAME', 'factory_breakers';
COMMENT ON FUNCTION factory.breakers() IS
'breakers of this database''s model servers; read view breaker_status instead';
CREATE OR REPLACE VIEW factory.breaker_status AS
SELECT b.server, b.state, b.calls, b.failures, b.since, b.open_until, b.rejected, b.opened, b.retries_left
FROM factory.breakers() AS b;
COMMENT ON VIEW factory.breaker_status IS
'model servers that were called: closed (works), open (left alone until open_until) or half_open (being tried); how many of its last calls failed';

CREATE OR REPLACE FUNCTION factory.paces(OUT server text, OUT provider_model text,
	OUT requests_last_minute bigint, OUT tokens_last_minute bigint, OUT learned_requests bigint,
	OUT learned_tokens bigint, OUT paused_until timestamptz) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED STRICT
AS 'MODULE_PATHNAME', 'factory_paces';
COMMENT ON FUNCTION factory.paces() IS
'what models were asked in the last minute; read view pace_status instead';
CREATE OR REPLACE VIEW factory.pace_status AS
SELECT p.server, p.provider_model, p.requests_last_minute, p.tokens_last_minute, p.learned_requests,
	p.learned_tokens, p.paused_until
FROM factory.paces() AS p;
COMMENT ON VIEW factory.pace_status IS
'models that were called, a row a key: requests and tokens of the last minute, limits their server told of, and the pause it asked for';

CREATE OR REPLACE FUNCTION factory.reset_breaker(server text) RETURNS void
LANGUAGE c VOLATILE PARALLEL RESTRICTED STRICT
AS 'MODULE_PATHNAME', 'factory_reset_breaker';
COMMENT ON FUNCTION factory.reset_breaker(text) IS
'calls a model server again at once: its breaker is closed, pauses and limits it asked for are forgotten';
REVOKE ALL ON FUNCTION factory.breakers(), factory.paces(), factory.reset_breaker(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.breakers(), factory.paces()
TO factory_admin, factory_author, factory_operator, factory_monitor;
GRANT EXECUTE ON FUNCTION factory.reset_breaker(text) TO factory_admin, factory_operator;
REVOKE ALL ON factory.breaker_status, factory.pace_status FROM PUBLIC;
GRANT SELECT ON factory.breaker_status, factory.pace_status
TO factory_admin, factory_author, factory_operator, factory_monitor;

CREATE OR REPLACE VIEW factory.llm_usage AS
SELECT c.tenant_id, (c.called_at AT TIME ZONE coalesce(
		nullif(pg_catalog.current_setting('factory.timezone'), ''), pg_catalog.current_setting('TimeZone')))::pg_catalog.date AS day, c.model,
	c.called_by AS role, CASE WHEN c.purpose = 'judgment' THEN c.subject END AS decision,
	pg_catalog.count(*) AS calls, pg_catalog.count(*) FILTER (WHERE NOT c.success) AS failures,
	pg_catalog.sum(c.attempts) AS attempts,
	pg_catalog.sum(c.prompt_tokens)::bigint AS prompt_tokens,
	pg_catalog.sum(c.completion_tokens)::bigint AS completion_tokens,
	pg_catalog.sum(c.total_tokens)::bigint AS total_tokens,
	pg_catalog.sum(c.cost_usd) AS cost_usd,
	pg_catalog.count(*) FILTER (WHERE c.cost_usd IS NULL) AS calls_without_price,
	pg_catalog.avg(c.latency_ms) AS mean_latency_ms
FROM factory.llm_call AS c
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW factory.llm_usage IS
'the ledger by day (of the plant''s time zone), model, role and decision';
REVOKE ALL ON factory.llm_usage FROM PUBLIC;
GRANT SELECT ON factory.llm_usage TO factory_admin, factory_monitor;

-- The ledger is kept by the month, as the judgment log is.
CREATE OR REPLACE FUNCTION factory.make_ledger_months(ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	made CONSTANT text[] := factory.make_months('llm_call', ahead);
	name text;
BEGIN
	FOREACH name IN ARRAY made LOOP
		EXECUTE format('CREATE INDEX ON factory.%I (tenant_id, called_at)', name);
	END LOOP;
	RETURN cardinality(made);
END
$$;
COMMENT ON FUNCTION factory.make_ledger_months(integer) IS
'makes the ledger''s partitions of this month and those ahead, where they are missing';
REVOKE ALL ON FUNCTION factory.make_ledger_months(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.drop_ledger_before(before timestamptz DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- Budgets count what this month took, in the plant's time zone.
	cutoff CONSTANT timestamptz := factory.log_cutoff('the ledger', 'factory.llm_retention', before, 32);
	dropped CONSTANT text[] := factory.drop_months('llm_call', cutoff);
BEGIN
	IF dropped <> '{}' THEN
		PERFORM factory.audit('drop', 'llm_call', NULL,
			jsonb_build_object('months', to_jsonb(dropped)), jsonb_build_object('kept_since', cutoff));
	END IF;
	RETURN cardinality(dropped);
END
$$;
COMMENT ON FUNCTION factory.drop_ledger_before(timestamptz) IS
'drops the ledger''s months that are older than that, or than factory.llm_retention; returns how many';
REVOKE ALL ON FUNCTION factory.drop_ledger_before(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.drop_ledger_before(timestamptz) TO factory_admin;

CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.llm_budget
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('budget', 'name');

CREATE OR REPLACE TRIGGER rows_changed AFTER INSERT OR UPDATE OR DELETE ON factory.llm_budget
	FOR EACH ROW EXECUTE FUNCTION factory.rows_changed();
CREATE OR REPLACE TRIGGER rows_truncated AFTER TRUNCATE ON factory.llm_budget
	FOR EACH STATEMENT EXECUTE FUNCTION factory.rows_changed();
ALTER TABLE factory.llm_budget ENABLE ALWAYS TRIGGER rows_changed, ENABLE ALWAYS TRIGGER rows_truncated;

CREATE OR REPLACE FUNCTION factory.set_budget(kind text, name text = NULL, period text = 'month',
	tokens bigint = NULL, cost_usd numeric = NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	whose CONSTANT text := CASE WHEN set_budget.kind = 'tenant' THEN factory.current_tenant() ELSE set_budget.name END;
BEGIN
	IF set_budget.kind = 'tenant' AND set_budget.name <> whose THEN
		RAISE EXCEPTION 'this session works for tenant "%", not "%"', whose, set_budget.name
			USING ERRCODE = 'invalid_parameter_value',
				HINT = 'SET factory.tenant to it, or leave the name out.';
	END IF;
	INSERT INTO factory.llm_budget (kind, name, period, tokens, cost_usd)
	VALUES (set_budget.kind, whose, set_budget.period, set_budget.tokens, set_budget.cost_usd)
	ON CONFLICT ON CONSTRAINT llm_budget_pkey DO UPDATE
		SET tokens = excluded.tokens, cost_usd = excluded.cost_usd;
EXCEPTION
	WHEN check_violation OR not_null_violation THEN
		RAISE EXCEPTION 'invalid budget'
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = 'A kind is tenant, role or model; a period is day or month; a name has 1 to 63 bytes; tokens or cost_usd is given, and not negative.',
				HINT = 'Write factory.set_budget(''role'', ''planner'', ''day'', tokens => 100000).';
END
$$;
COMMENT ON FUNCTION factory.set_budget(text, text, text, bigint, numeric) IS
'limits what the tenant, a role or a model may take a day or a month, in tokens and US dollars; replaces that budget';

CREATE OR REPLACE FUNCTION factory.drop_budget(kind text, name text = NULL, period text = 'month') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM factory.llm_budget AS b
	WHERE b.tenant_id = factory.current_tenant() AND b.kind = drop_budget.kind AND b.period = drop_budget.period
		AND b.name = CASE WHEN drop_budget.kind = 'tenant' THEN factory.current_tenant() ELSE drop_budget.name END;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no such budget'
			USING ERRCODE = 'undefined_object', HINT = 'View factory.budget_status lists the budgets.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.drop_budget(text, text, text) IS
'takes a budget away';

CREATE OR REPLACE FUNCTION factory.budget_usage(OUT tenant_id text, OUT kind text, OUT name text,
	OUT period text, OUT period_start timestamptz, OUT tokens bigint, OUT reserved_tokens bigint,
	OUT cost_usd float8, OUT reserved_cost_usd float8) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED STRICT
AS 'MODULE_PATHNAME', 'factory_budget_usage';
COMMENT ON FUNCTION factory.budget_usage() IS
'what was used of budgets; read view budget_status instead';

CREATE OR REPLACE VIEW factory.budget_status AS
SELECT s.tenant_id, s.kind, s.name, s.period, s.tokens, s.tokens_used, s.tokens_reserved, s.cost_usd,
	s.cost_used, s.cost_reserved,
	CASE WHEN s.part >= 1 THEN 'exhausted' WHEN s.part >= 0.8 THEN 'warning' ELSE 'ok' END AS state,
	s.period_start
FROM (SELECT b.*, u.period_start, coalesce(u.tokens, 0) AS tokens_used,
		coalesce(u.reserved_tokens, 0) AS tokens_reserved, coalesce(u.cost_usd, 0)::numeric AS cost_used,
		coalesce(u.reserved_cost_usd, 0)::numeric AS cost_reserved,
		greatest(CASE WHEN b.tokens = 0 THEN 1 ELSE coalesce(u.tokens, 0)::numeric / b.tokens END,
			CASE WHEN b.cost_usd = 0 THEN 1 ELSE coalesce(u.cost_usd, 0)::numeric / b.cost_usd END) AS part
	FROM factory.llm_budget AS b
	LEFT JOIN factory.budget_usage() AS u
		ON u.tenant_id = b.tenant_id AND u.kind = b.kind AND u.name = b.name AND u.period = b.period) AS s;
COMMENT ON VIEW factory.budget_status IS
'budgets and what is used and reserved of them; period_start is null until a call asked for the budget in this period';
REVOKE ALL ON FUNCTION factory.set_budget(text, text, text, bigint, numeric), factory.drop_budget(text, text, text),
	factory.budget_usage() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.set_budget(text, text, text, bigint, numeric), factory.drop_budget(text, text, text)
TO factory_admin;
GRANT EXECUTE ON FUNCTION factory.budget_usage() TO factory_admin, factory_operator, factory_monitor;
REVOKE ALL ON factory.budget_status FROM PUBLIC;
GRANT SELECT ON factory.budget_status TO factory_admin, factory_operator, factory_monitor;

CREATE OR REPLACE FUNCTION factory.mask_pii(text text) RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_mask_pii';
COMMENT ON FUNCTION factory.mask_pii(text) IS
'a text as a model would see it: telephone and identity numbers, cards, accounts, addresses and names masked';
REVOKE ALL ON FUNCTION factory.mask_pii(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.mask_pii(text)
TO factory_admin, factory_author, factory_operator, factory_analyst;
