-- Models: servers and their options, models, and what is refused before anything
-- leaves the server.  Calls that reach a peer are in t/.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET factory.llm_retry_delay = 0;

-- A server, a key, a model.
CREATE SERVER openai FOREIGN DATA WRAPPER factory_llm
	OPTIONS (provider 'openai', base_url 'https://api.openai.com/v1');
CREATE USER MAPPING FOR CURRENT_USER SERVER openai OPTIONS (api_key 'sk-not-a-key');
SELECT factory.create_model('mini', 'openai', 'gpt-4o-mini', input_price => 0.15, output_price => 0.60,
	tier => 1, options => '{"temperature": 0.2, "max_tokens": 500, "timeout": "15s"}');
SELECT name, server, model, input_price, output_price, tier, options FROM factory.model;
SELECT factory.alter_model('mini', model => 'gpt-4o', input_price => 2.5, output_price => 10);
SELECT name, server, model, input_price, output_price, tier, options FROM factory.model;

-- Servers: what is refused.
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm;
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_ulr 'https://a.example');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (nonsense 'x');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example', provider 'oracle');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'a.example');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'file:///etc/passwd');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://me:secret@a.example');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example/#x');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example', allow_http 'maybe');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example', max_connections '0');
CREATE SERVER s FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example', ca_file 'ca.pem');
ALTER FOREIGN DATA WRAPPER factory_llm OPTIONS (ADD base_url 'x');

-- User mappings: one key, in one place.
CREATE USER MAPPING FOR PUBLIC SERVER openai OPTIONS (apikey 'sk-not-a-key');
CREATE USER MAPPING FOR PUBLIC SERVER openai OPTIONS (api_key E'sk\nX-Header: 1');
CREATE USER MAPPING FOR PUBLIC SERVER openai OPTIONS (api_key_env 'PATH');
CREATE USER MAPPING FOR PUBLIC SERVER openai OPTIONS (api_key_file 'key');
CREATE USER MAPPING FOR PUBLIC SERVER openai OPTIONS (api_key_env 'FACTORY_KEY', api_key_file '/tmp/key');

-- Files and environment are for those who may read them.
CREATE ROLE llm_admin IN ROLE factory_admin;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO llm_admin', current_database()); END $$;
SET ROLE llm_admin;
CREATE SERVER hers FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'https://a.example');
CREATE USER MAPPING FOR llm_admin SERVER hers OPTIONS (api_key_file '/etc/hostname');
CREATE USER MAPPING FOR llm_admin SERVER hers OPTIONS (api_key_env 'FACTORY_KEY');
ALTER SERVER hers OPTIONS (ADD ca_file '/etc/hostname');
SELECT factory.create_model('hers', 'hers', 'm');
-- A key that a superuser put there does not go where she sends it.
RESET ROLE;
CREATE USER MAPPING FOR PUBLIC SERVER hers OPTIONS (api_key_file '/etc/hostname');
SET ROLE llm_admin;
SELECT factory.complete('hers', 'hi');
RESET ROLE;

-- Models: what is refused.
SELECT factory.create_model('mini', 'openai', 'gpt-4o-mini');
SELECT factory.create_model('other', 'nowhere', 'gpt-4o-mini');
\set VERBOSITY terse
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', input_price => -1);
\set VERBOSITY default
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"temprature": 1}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"colour": 1}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"temperature": "hot"}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"max_tokens": 1.5}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"timeout": "1 day"}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '{"timeout": 15}');
SELECT factory.create_model('other', 'openai', 'gpt-4o-mini', options => '[]');
SELECT factory.alter_model('other', model => 'm');
SELECT factory.drop_model('other');

-- Calls that end before they leave.
SELECT factory.complete('nobody', 'hi');
SELECT factory.complete(NULL, 'hi');
SELECT factory.complete('mini', NULL);
SELECT factory.complete('mini', 'hi', options => '{"temprature": 1}');
SELECT factory.complete('mini', 'hi', schema => '{"$ref": "#/x"}');
SELECT factory.complete('mini', repeat('x', 2000000));
CREATE ROLE llm_operator IN ROLE factory_operator;
SET ROLE llm_operator;
SELECT factory.complete('mini', 'hi');
SELECT factory.create_model('hers', 'hers', 'm');
RESET ROLE;

-- Egress is closed: plain http, and every address that is not public, in any dress.
CREATE SERVER local FOREIGN DATA WRAPPER factory_llm OPTIONS (base_url 'http://127.0.0.1:9');
SELECT factory.create_model('local', 'local', 'm');
SELECT factory.complete('local', 'hi');
CREATE FUNCTION try_url(url text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER SERVER local OPTIONS (SET base_url %L)', url);
	RETURN factory.complete('local', 'hi', options => '{"timeout": "5s"}');
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;
ALTER SERVER local OPTIONS (ADD allow_http 'true');
SELECT url, try_url(url) FROM (VALUES
	('http://127.0.0.1:9'), ('http://127.1:9'), ('http://2130706433:9'), ('http://0x7f.1:9'),
	('http://0.0.0.0:9'), ('http://10.1.2.3:9'), ('http://172.31.0.1:9'), ('http://192.168.1.1:9'),
	('http://169.254.169.254/latest'), ('http://100.64.0.1:9'), ('http://224.0.0.1:9'),
	('http://255.255.255.255:9'), ('http://[::1]:9'), ('http://[::]:9'), ('http://[fe80::1]:9'),
	('http://[fd00::1]:9'), ('http://[::ffff:127.0.0.1]:9'), ('http://[::ffff:a9fe:a9fe]:9'),
	('http://[64:ff9b::7f00:1]:9'), ('http://[2002:7f00:1::]:9'), ('http://[ff02::1]:9')) t(url);
-- With permission it is an ordinary failure.
ALTER SERVER local OPTIONS (ADD allow_private 'true');
SELECT try_url('http://127.0.0.1:9');
SELECT factory.complete('local', 'hi');

-- A server that is gone.
DROP SERVER local;
SELECT factory.complete('local', 'hi');

-- Templates: paths, no code.
SELECT factory.render_template('line {{ line_code }}: {{defect_count}} of {{ a.b }} {{ list.0 }} {{ list.1.x }}',
	'{"line_code": "LINE-A", "defect_count": 7, "a": {"b": 100}, "list": [true, {"x": "y"}]}');
SELECT factory.render_template('{{ all }} and {{ nothing }}, {{ list.7 }}, {{ a.b.c }}, {{ null }}',
	'{"all": {"a b": [1, "x: \" y"]}, "a": {"b": 1}, "list": [], "null": null}');
SELECT factory.render_template('불량률 {{ 라인 }} }} { }', '{"라인": "LINE-A"}');
SELECT factory.render_template('불량률 {{ line', '{}');
SELECT factory.render_template('불량률 {{ }}', '{}');

-- Schemas: what is wrong, and where.
CREATE FUNCTION pg_temp.faults(schema jsonb, variadic vals jsonb[]) RETURNS TABLE (value jsonb, fault text)
LANGUAGE sql AS $$ SELECT v, factory.check_schema(schema, v) FROM unnest(vals) v $$;
SELECT * FROM pg_temp.faults('{"type": "integer", "minimum": 1, "exclusiveMaximum": 10}',
	'1', '1.0', '1.5', '0', '10', '"1"', 'null', '[]');
SELECT * FROM pg_temp.faults('{"type": ["string", "null"], "minLength": 2, "maxLength": 3}',
	'"불량"', '"불"', '"abcd"', 'null', 'true');
SELECT * FROM pg_temp.faults('{"type": "array", "minItems": 1, "maxItems": 2, "items": {"enum": ["a", "b"]}}',
	'["a"]', '[]', '["a", "b", "a"]', '["a", "c"]');
SELECT * FROM pg_temp.faults('{"type": "object", "required": ["a"], "additionalProperties": false,
	"properties": {"a": {"type": "object", "properties": {"b": {"const": 1}}}, "c": true}}',
	'{"a": {"b": 1}}', '{"a": {"b": 2}}', '{"c": 1}', '{"a": {}, "d": 1}', '{"a": 3}');
SELECT * FROM pg_temp.faults('{"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "none"}]}',
	'1', '0', '"none"', '"some"');
SELECT * FROM pg_temp.faults('{"type": "object", "additionalProperties": {"type": "number"}}',
	'{"a": 1}', '{"a": "1"}');
SELECT * FROM pg_temp.faults('{"title": "anything", "format": "date"}', '1');

-- Schemas we cannot check by are refused, not half obeyed.
DO $$
DECLARE
	s text;
BEGIN
	FOREACH s IN ARRAY ARRAY['{"properties": {"a": {"$ref": "#/b"}}}', '{"anyOf": [{"not": {}}]}',
		'{"type": "text"}', '{"type": []}', '{"properties": []}', '{"required": "a"}', '{"required": [1]}',
		'{"enum": 1}', '{"minimum": "1"}', '{"items": [1]}', '{"items": {"pattern": "x"}}', '{"anyOf": []}', '[]', '1']
	LOOP
		BEGIN
			PERFORM factory.check_schema(s::jsonb, '1');
			RAISE NOTICE '% was taken', s;
		EXCEPTION WHEN SQLSTATE 'PF208' THEN
			RAISE NOTICE '%', sqlerrm;
		END;
	END LOOP;
END
$$;

-- Who may do what.
SELECT has_function_privilege('llm_operator', 'factory.complete(text, text, text, jsonb, jsonb)', 'EXECUTE') AS operator_completes,
	has_table_privilege('llm_operator', 'factory.model', 'INSERT') AS operator_creates,
	has_table_privilege('llm_operator', 'factory.llm_call', 'SELECT') AS operator_reads_ledger,
	has_table_privilege('llm_admin', 'factory.llm_call', 'INSERT') AS admin_writes_ledger;

-- The extension does not go while servers of its own wrapper are there.
SELECT factory.drop_model('mini'), factory.drop_model('hers'), factory.drop_model('local');
DROP FUNCTION try_url;
DROP SERVER openai CASCADE;
DROP SERVER hers CASCADE;
DROP OWNED BY llm_admin;
DROP ROLE llm_admin, llm_operator;
