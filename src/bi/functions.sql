CREATE OR REPLACE FUNCTION factory.bi_table_changed() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_bi_table_changed';
COMMENT ON FUNCTION factory.bi_table_changed() IS
'tells every backend that a table of the question room changed';
REVOKE ALL ON FUNCTION factory.bi_table_changed() FROM PUBLIC;

CREATE OR REPLACE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON factory.catalog
FOR EACH ROW EXECUTE FUNCTION factory.bi_table_changed();
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON factory.catalog
FOR EACH STATEMENT EXECUTE FUNCTION factory.bi_table_changed();
ALTER TABLE factory.catalog ENABLE ALWAYS TRIGGER changed, ENABLE ALWAYS TRIGGER truncated;
CREATE OR REPLACE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON factory.allowed_function
FOR EACH ROW EXECUTE FUNCTION factory.bi_table_changed();
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON factory.allowed_function
FOR EACH STATEMENT EXECUTE FUNCTION factory.bi_table_changed();
ALTER TABLE factory.allowed_function ENABLE ALWAYS TRIGGER changed, ENABLE ALWAYS TRIGGER truncated;

CREATE OR REPLACE FUNCTION factory.load_catalog(catalog jsonb) RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_load_catalog';
COMMENT ON FUNCTION factory.load_catalog(jsonb) IS
'checks one domain''s catalogue and puts it into force as its next version';
REVOKE ALL ON FUNCTION factory.load_catalog(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.load_catalog(jsonb) TO factory_admin;

CREATE OR REPLACE FUNCTION factory.describe_catalog() RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_describe_catalog';
COMMENT ON FUNCTION factory.describe_catalog() IS
'what can be asked: metrics, dimensions with their values, widgets';

CREATE OR REPLACE FUNCTION factory.plan(question text, context jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_plan';
COMMENT ON FUNCTION factory.plan(text, jsonb) IS
'how a question would be answered: plan, SQL and period, or the question back';

CREATE OR REPLACE FUNCTION factory.to_sql(question text) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_to_sql';
COMMENT ON FUNCTION factory.to_sql(text) IS
'the SQL that answers a question';

CREATE OR REPLACE FUNCTION factory.ask(question text, context jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_ask';
COMMENT ON FUNCTION factory.ask(text, jsonb) IS
'a question in Korean or English answered by checked SQL: rows, chart and how they came about';

CREATE OR REPLACE FUNCTION factory.check_sql(sql text, OUT ok boolean, OUT layer text, OUT reason text, OUT hint text)
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_check_sql';
COMMENT ON FUNCTION factory.check_sql(text) IS
'whether the guard would let a statement run, and if not, which layer refuses it and why';

CREATE OR REPLACE FUNCTION factory.run_sql(sql text, max_rows integer DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_run_sql';
COMMENT ON FUNCTION factory.run_sql(text, integer) IS
'the rows of a SELECT, as the reader, read-only and within the limits of questions';

REVOKE ALL ON FUNCTION factory.describe_catalog(), factory.plan(text, jsonb), factory.to_sql(text),
	factory.ask(text, jsonb), factory.check_sql(text), factory.run_sql(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.describe_catalog(), factory.plan(text, jsonb), factory.to_sql(text),
	factory.ask(text, jsonb), factory.check_sql(text), factory.run_sql(text, integer)
	TO factory_analyst, factory_operator, factory_admin;

CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.catalog
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('catalog', 'domain', 'document');
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.allowed_function
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('allowed_function', 'function');
