-- model.sql: the model "demo" at an OpenAI-compatible server, or none where url is empty.
-- psql -v url=... -v model=... -v key_file=... -f demo/model.sql
BEGIN;
SELECT factory.drop_model(name) FROM factory.model WHERE name = 'demo';
DROP SERVER IF EXISTS demo CASCADE;
SELECT :'url' <> '' AS wanted, :'key_file' <> '' AS has_key, :'url' LIKE 'http://%' AS plain \gset
\if :wanted
-- The caller names the server, so it may be in this house and without TLS.
CREATE SERVER demo FOREIGN DATA WRAPPER factory_llm OPTIONS (provider 'openai', base_url :'url', allow_private 'true');
\if :plain
ALTER SERVER demo OPTIONS (ADD allow_http 'true');
\endif
\if :has_key
CREATE USER MAPPING FOR PUBLIC SERVER demo OPTIONS (api_key_file :'key_file');
\endif
GRANT USAGE ON FOREIGN SERVER demo TO factory_operator, factory_analyst;
SELECT factory.create_model('demo', 'demo', :'model');
ALTER DATABASE :"DBNAME" SET factory.question_model = 'demo';
\else
ALTER DATABASE :"DBNAME" RESET factory.question_model;
\endif
COMMIT;
