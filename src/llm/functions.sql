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
