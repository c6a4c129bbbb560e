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
CREATE OR REPLACE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON factory.verified_question
FOR EACH ROW EXECUTE FUNCTION factory.bi_table_changed();
CREATE OR REPLACE TRIGGER truncated AFTER TRUNCATE ON factory.verified_question
FOR EACH STATEMENT EXECUTE FUNCTION factory.bi_table_changed();
ALTER TABLE factory.verified_question ENABLE ALWAYS TRIGGER changed, ENABLE ALWAYS TRIGGER truncated;

CREATE OR REPLACE FUNCTION factory.load_catalog(catalog jsonb) RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_load_catalog';
COMMENT ON FUNCTION factory.load_catalog(jsonb) IS
'checks one domain''s catalogue and puts it into force as its next version';
REVOKE ALL ON FUNCTION factory.load_catalog(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.load_catalog(jsonb) TO factory_admin;

CREATE OR REPLACE FUNCTION factory.check_catalog(catalog jsonb, OUT level text, OUT path text, OUT message text)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_check_catalog';
COMMENT ON FUNCTION factory.check_catalog(jsonb) IS
'what load_catalog() would refuse, and what it would not but is likely wrong: ambiguous words, joins that double rows, sums that do not add up';
REVOKE ALL ON FUNCTION factory.check_catalog(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.check_catalog(jsonb) TO factory_admin;

CREATE OR REPLACE FUNCTION factory.describe_catalog(language text DEFAULT NULL) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_describe_catalog';
COMMENT ON FUNCTION factory.describe_catalog(text) IS
'what can be asked: metrics, dimensions with their values, datasets, widgets; labels in one language (ko, en) or both';

CREATE OR REPLACE FUNCTION factory.etl_done(dataset text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT
AS 'MODULE_PATHNAME', 'factory_etl_done';
COMMENT ON FUNCTION factory.etl_done(text) IS
'reports that a dataset''s data is complete: answers from before are not given again';
REVOKE ALL ON FUNCTION factory.etl_done(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.etl_done(text) TO factory_admin, factory_operator;

CREATE OR REPLACE FUNCTION factory.verify_question(question text, sql text DEFAULT NULL, means text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_verify_question';
COMMENT ON FUNCTION factory.verify_question(text, text, text) IS
'keeps a question with the statement that answers it, or with a wording that the planner understands';
REVOKE ALL ON FUNCTION factory.verify_question(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.verify_question(text, text, text) TO factory_admin;

-- PostgreSQL has no row security for materialized views.
CREATE OR REPLACE FUNCTION factory.expose_view(view regclass) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	reader text := current_setting('factory.reader_role');
	barrier text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_class WHERE oid = view AND relkind = 'm') THEN
		RAISE EXCEPTION '"%" is not a materialized view', view
			USING ERRCODE = 'wrong_object_type', HINT = 'Tables have row security of their own.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = view AND attname = 'tenant_id' AND NOT attisdropped) THEN
		RAISE EXCEPTION '"%" has no column "tenant_id"', view
			USING ERRCODE = 'undefined_column', HINT = 'Select tenant_id in the view, so that its rows can be told apart.';
	END IF;
	SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname || '_rows') INTO barrier
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = view;
	EXECUTE format('CREATE OR REPLACE VIEW %s WITH (security_barrier) AS SELECT * FROM %s WHERE tenant_id = factory.current_tenant()', barrier, view);
	EXECUTE format('REVOKE ALL ON %s FROM %I', view, reader);
	EXECUTE format('GRANT SELECT ON %s TO %I', barrier, reader);
	RETURN barrier;
END $$;
COMMENT ON FUNCTION factory.expose_view(regclass) IS
'lets the reader see a materialized view through a security-barrier view of the caller''s tenant''s rows only; returns the view''s name';
REVOKE ALL ON FUNCTION factory.expose_view(regclass) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.expose_view(regclass) TO factory_admin;

-- A first draft from what the server knows of a schema.  A person goes over it: what a
-- number means, a database does not say.
CREATE OR REPLACE FUNCTION factory.suggest_catalog(schema text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
	WITH relation AS (
		SELECT c.oid, c.relname AS name, c.relkind
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = schema AND c.relkind IN ('r', 'p', 'm', 'v') AND NOT c.relispartition
		  AND has_table_privilege(c.oid, 'SELECT')
	), attribute AS (
		SELECT r.oid, r.name AS relation, a.attname::text AS name, a.attnum, a.atttypid, t.typcategory AS category,
			   col_description(r.oid, a.attnum) AS comment, initcap(replace(a.attname, '_', ' ')) AS label, s.n_distinct,
			   EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = r.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey)) AS foreign_key,
			   a.attname ~ '(^|_)(id|code|key|no|number)$' AS named_key
		FROM relation r
		JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
		LEFT JOIN pg_stats s ON s.schemaname = schema AND s.tablename = r.name AND s.attname = a.attname
		WHERE a.attname <> 'tenant_id'
	), clock AS (
		SELECT DISTINCT ON (oid) oid, name, atttypid
		FROM attribute
		WHERE atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
		ORDER BY oid, name ~ '(created|updated|modified|deleted)', name !~ '(date|day|time|hour|_at)', attnum
	), fact AS (
		SELECT DISTINCT a.oid, a.relation FROM attribute a JOIN clock USING (oid)
		WHERE a.category = 'N' AND NOT a.foreign_key AND NOT a.named_key
	), metric AS (
		SELECT a.* FROM attribute a JOIN fact USING (oid)
		WHERE a.category = 'N' AND NOT a.foreign_key AND NOT a.named_key
	), dimension AS (
		SELECT a.* FROM attribute a JOIN fact USING (oid)
		WHERE a.foreign_key OR a.category IN ('E', 'B')
		   OR (a.category = 'S' AND coalesce(a.n_distinct, 1) BETWEEN 0 AND 1000)
	), names AS (
		SELECT name, coalesce(min(comment), min(label)) AS label, min(relation) AS relation FROM dimension GROUP BY name
	), joined AS (
		SELECT DISTINCT ON (d.name) d.name AS on_column, f.relname AS relation, fa.attname AS key
		FROM dimension d
		JOIN pg_constraint k ON k.conrelid = d.oid AND k.contype = 'f' AND k.conkey = ARRAY[d.attnum]
		JOIN pg_class f ON f.oid = k.confrelid
		JOIN pg_attribute fa ON fa.attrelid = f.oid AND fa.attnum = k.confkey[1]
		ORDER BY d.name, f.relname
	)
	SELECT jsonb_build_object(
		'domain', schema,
		'defaults', jsonb_build_object('period', 'last_7_days'),
		'datasets', coalesce((SELECT jsonb_object_agg(f.relation, jsonb_build_object(
			'relation', quote_ident(schema) || '.' || quote_ident(f.relation), 'time', c.name,
			'grain', CASE WHEN c.atttypid = 'date'::regtype THEN 'day' ELSE 'hour' END,
			'dimensions', coalesce((SELECT jsonb_agg(d.name ORDER BY d.attnum) FROM dimension d WHERE d.oid = f.oid), '[]')))
			FROM fact f JOIN clock c USING (oid)), '{}'),
		'metrics', coalesce((SELECT jsonb_object_agg(name, document) FROM (
			SELECT m.name, jsonb_build_object('label', coalesce(min(m.comment), min(m.label)),
				'sql', CASE WHEN m.name ~ '(rate|ratio|percent|pct|avg|average|mean)' THEN 'avg(' ELSE 'sum(' END || quote_ident(m.name) || ')',
				'additivity', CASE WHEN m.name ~ '(rate|ratio|percent|pct|avg|average|mean)' THEN 'ratio'
								   WHEN m.name ~ '(stock|balance|level|inventory)' THEN 'last' ELSE 'sum' END,
				'datasets', jsonb_agg(m.relation ORDER BY m.relation)) AS document
			FROM metric m GROUP BY m.name) AS one), '{}'),
		'dimensions', coalesce((SELECT jsonb_object_agg(n.name, jsonb_build_object('column', n.name, 'label', n.label,
			'values_query', format('SELECT DISTINCT %I FROM %I.%I', coalesce(j.key, n.name), schema, coalesce(j.relation, n.relation))))
			FROM names n LEFT JOIN joined j ON j.on_column = n.name), '{}'),
		'joins', coalesce((SELECT jsonb_object_agg(on_column, jsonb_build_object('relation', quote_ident(schema) || '.' || quote_ident(relation),
			'on', on_column, 'key', key, 'cardinality', 'many_to_one')) FROM joined), '{}'))
$$;
COMMENT ON FUNCTION factory.suggest_catalog(text) IS
'a first draft of a catalogue from a schema''s tables, comments, keys and statistics, for a person to go over';
REVOKE ALL ON FUNCTION factory.suggest_catalog(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.suggest_catalog(text) TO factory_admin;

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

CREATE OR REPLACE FUNCTION factory.ask(question text, context jsonb DEFAULT NULL, narrate boolean DEFAULT false,
	skip_cache boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_ask';
COMMENT ON FUNCTION factory.ask(text, jsonb, boolean, boolean) IS
'a question in Korean or English answered by checked SQL: rows, chart and how they came about';

CREATE OR REPLACE FUNCTION factory.ask_csv(question text, context jsonb DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_ask_csv';
COMMENT ON FUNCTION factory.ask_csv(text, jsonb) IS
'the rows of a question''s answer as CSV, with a line of labels';

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

REVOKE ALL ON FUNCTION factory.describe_catalog(text), factory.ask_csv(text, jsonb), factory.plan(text, jsonb), factory.to_sql(text),
	factory.ask(text, jsonb, boolean, boolean), factory.check_sql(text), factory.run_sql(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.describe_catalog(text), factory.ask_csv(text, jsonb), factory.plan(text, jsonb), factory.to_sql(text),
	factory.ask(text, jsonb, boolean, boolean), factory.check_sql(text), factory.run_sql(text, integer)
	TO factory_analyst, factory_operator, factory_admin;

CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.catalog
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('catalog', 'domain', 'document');
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.allowed_function
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('allowed_function', 'function');
