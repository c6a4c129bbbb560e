-- What questions are answered from: one document a domain, every version kept.
CREATE TABLE factory.catalog (
	tenant_id	text NOT NULL DEFAULT factory.current_tenant(),
	domain		text NOT NULL,
	version		integer NOT NULL,
	document	jsonb NOT NULL,
	loaded_by	name NOT NULL DEFAULT SESSION_USER,
	loaded_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (tenant_id, domain, version)
);
REVOKE ALL ON factory.catalog FROM PUBLIC;
GRANT SELECT ON factory.catalog TO factory_admin;
COMMENT ON TABLE factory.catalog IS
'catalogues of questions: the highest version of a domain is in force';
SELECT pg_catalog.pg_extension_config_dump('factory.catalog', '');

-- What generated SQL may call.  An owner's row (shipped = false) wins over ours.
CREATE TABLE factory.allowed_function (
	function	text NOT NULL,
	allowed		boolean NOT NULL DEFAULT true,
	shipped		boolean NOT NULL DEFAULT false,
	note		text,
	PRIMARY KEY (function, shipped)
);
REVOKE ALL ON factory.allowed_function FROM PUBLIC;
GRANT SELECT ON factory.allowed_function TO factory_admin, factory_analyst, factory_monitor;
COMMENT ON TABLE factory.allowed_function IS
'functions that generated SQL may call: schema.name for all of that name, schema.name(type, ...) for one';
SELECT pg_catalog.pg_extension_config_dump('factory.allowed_function', 'WHERE NOT shipped');

-- Operators, casts, input and output of plain types, as this server names them.
WITH plain (type) AS (
	SELECT pg_catalog.unnest(ARRAY['bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'text', 'varchar',
		'bpchar', 'name', '"char"', 'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'uuid', 'json', 'jsonb',
		'jsonpath', 'anyarray', 'anyelement', 'anycompatible', 'anycompatiblearray', 'anyenum', 'record', 'anyrange',
		'int4range', 'int8range', 'numrange', 'daterange', 'tsrange', 'tstzrange', '_text', '_int4', '_int8',
		'_float8', '_numeric', 'unknown']::pg_catalog.regtype[])
), called (function) AS (
	SELECT oprcode::oid FROM pg_catalog.pg_operator
	WHERE oprnamespace = 'pg_catalog'::pg_catalog.regnamespace
	  AND (oprleft = 0 OR oprleft IN (SELECT type FROM plain)) AND oprright IN (SELECT type FROM plain)
	  AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '/', '%', '^', '||', '|/', '||/', '@',
		'~~', '~~*', '!~~', '!~~*', '~', '~*', '!~', '!~*', '^@', '->', '->>', '#>', '#>>', '@>', '<@', '?', '?|', '?&',
		'&&', '@?', '@@', '-|-', '<<', '>>', '&<', '&>', '#-', '&', '|', '#')
	  AND NOT (oprname = '@@' AND oprleft <> 'jsonb'::pg_catalog.regtype)
	UNION
	SELECT castfunc FROM pg_catalog.pg_cast
	WHERE castfunc <> 0 AND castsource IN (SELECT type FROM plain) AND casttarget IN (SELECT type FROM plain)
	UNION
	SELECT pg_catalog.unnest(ARRAY[typinput::oid, typoutput::oid]) FROM pg_catalog.pg_type
	WHERE oid IN (SELECT type FROM plain) AND typtype IN ('b', 'r')
	UNION
	SELECT amproc::oid FROM pg_catalog.pg_amproc p JOIN pg_catalog.pg_opfamily f ON f.oid = p.amprocfamily
	WHERE f.opfmethod = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree') AND p.amprocnum IN (1, 3)
	  AND p.amproclefttype IN (SELECT type FROM plain)
)
INSERT INTO factory.allowed_function (function, shipped, note)
SELECT DISTINCT 'pg_catalog.' || pg_catalog.quote_ident(p.proname), true, 'operator, cast or comparison of a plain type'
FROM called c JOIN pg_catalog.pg_proc p ON p.oid = c.function
WHERE p.provolatile <> 'v' AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace;

INSERT INTO factory.allowed_function (function, shipped, note)
SELECT 'pg_catalog.' || pg_catalog.quote_ident(name), true, note
FROM (VALUES
('aggregate', 'count sum avg min max stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp
 regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy bool_and bool_or every
 bit_and bit_or bit_xor string_agg array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg mode percentile_cont
 percentile_disc any_value range_agg'),
('window', 'row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value in_range'),
('arithmetic', 'abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log log10 power pow mod div gcd lcm width_bucket
 scale min_scale trim_scale degrees radians sin cos tan asin acos atan atan2 cot sinh cosh tanh asinh acosh atanh pi'),
('text', 'length char_length character_length octet_length bit_length lower upper initcap btrim ltrim rtrim left right
 substring substr position strpos replace translate reverse concat concat_ws split_part starts_with overlay ascii chr md5
 to_char to_number regexp_replace regexp_match regexp_matches regexp_count regexp_instr regexp_like regexp_substr
 regexp_split_to_array regexp_split_to_table string_to_array string_to_table array_to_string like_escape similar_to_escape
 textcat textanycat anytextcat normalize lpad rpad repeat enum_in enum_out enum_cmp enum_eq enum_ne enum_lt enum_le enum_gt
 enum_ge enum_first enum_last enum_range'),
('date and time', 'now transaction_timestamp statement_timestamp date_part date_trunc date_bin extract age make_date make_time
 make_timestamp make_timestamptz make_interval justify_days justify_hours justify_interval isfinite timezone to_date
 to_timestamp overlaps date_add date_subtract'),
('array', 'array_length cardinality array_ndims array_lower array_upper array_position array_positions array_remove
 array_append array_prepend array_cat array_replace array_in array_out unnest generate_subscripts array_dims trim_array
 array_sort array_reverse btarraycmp'),
('range', 'isempty int4range int8range numrange daterange tsrange tstzrange lower_inc upper_inc lower_inf upper_inf
 range_merge range_out range_in'),
('json', 'jsonb_extract_path jsonb_extract_path_text jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text
 jsonb_object_keys jsonb_array_length jsonb_typeof jsonb_build_object jsonb_build_array jsonb_object to_jsonb jsonb_strip_nulls
 jsonb_path_exists jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_to_recordset
 jsonb_to_record json_extract_path json_extract_path_text json_array_elements json_array_elements_text json_each
 json_each_text json_object_keys json_array_length json_typeof json_build_object json_build_array to_json row_to_json'),
('null', 'num_nulls num_nonnulls'),
('series, bounded by the guard', 'generate_series'),
('sample', 'bernoulli system')) AS shipped (note, names)
CROSS JOIN LATERAL pg_catalog.regexp_split_to_table(names, '\s+') AS name
ON CONFLICT DO NOTHING;

INSERT INTO factory.allowed_function (function, shipped, note) VALUES
	('factory.current_tenant', true, 'the tenant filter of compiled questions'),
	('factory.clock_now', true, 'the time as the factory sees it');

-- When the data of a dataset was last reported complete.
CREATE TABLE factory.dataset_status (
	tenant_id	text NOT NULL DEFAULT factory.current_tenant(),
	dataset		text NOT NULL,
	etl_done_at	timestamptz NOT NULL,
	reported_by	name NOT NULL DEFAULT SESSION_USER,
	PRIMARY KEY (tenant_id, dataset)
);
REVOKE ALL ON factory.dataset_status FROM PUBLIC;
GRANT SELECT ON factory.dataset_status TO factory_admin, factory_operator, factory_monitor;
COMMENT ON TABLE factory.dataset_status IS
'when a dataset was last reported complete by etl_done()';
SELECT pg_catalog.pg_extension_config_dump('factory.dataset_status', '');

-- Rows of questions that were asked a moment ago.  Nothing in it is worth a WAL record.
CREATE UNLOGGED TABLE factory.answer_cache (
	tenant_id	text NOT NULL DEFAULT factory.current_tenant(),
	key			bytea NOT NULL,
	answer		jsonb NOT NULL,
	created_at	timestamptz NOT NULL,
	expires_at	timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, key)
);
CREATE INDEX answer_cache_expires_idx ON factory.answer_cache (tenant_id, expires_at);
REVOKE ALL ON factory.answer_cache FROM PUBLIC;
COMMENT ON TABLE factory.answer_cache IS
'rows of answers for factory.question_cache_ttl; the key holds statement, reader and what the data''s age is known by';

-- Questions whose answer a person has checked.
CREATE TABLE factory.verified_question (
	tenant_id	text NOT NULL DEFAULT factory.current_tenant(),
	question	text NOT NULL,
	sql			text,
	means		text,
	verified_by	name NOT NULL DEFAULT SESSION_USER,
	verified_at	timestamptz NOT NULL DEFAULT factory.clock_now(),
	PRIMARY KEY (tenant_id, question),
	CHECK ((sql IS NULL) <> (means IS NULL))
);
REVOKE ALL ON factory.verified_question FROM PUBLIC;
GRANT SELECT ON factory.verified_question TO factory_admin, factory_analyst, factory_operator;
COMMENT ON TABLE factory.verified_question IS
'questions with the statement, or the wording, that answers them';
SELECT pg_catalog.pg_extension_config_dump('factory.verified_question', '');
