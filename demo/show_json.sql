-- show_json.sql: a JSON document for people: what fits stands on one line, long lists,
-- long texts and what lies deeper than :depth is cut.
-- psql -A -t -v depth=4 -v answer='...' -f demo/show_json.sql
CREATE FUNCTION pg_temp.abridge(document jsonb, depth int) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN document IN ('{}', '[]') THEN document
		WHEN jsonb_typeof(document) = 'object' AND depth = 0 THEN '"{...}"'
		WHEN jsonb_typeof(document) = 'array' AND depth = 0 THEN '"[...]"'
		WHEN jsonb_typeof(document) = 'object' THEN
			(SELECT jsonb_object_agg(key, pg_temp.abridge(value, depth - 1)) FROM jsonb_each(document))
		WHEN jsonb_typeof(document) = 'array' THEN
			(SELECT jsonb_agg(pg_temp.abridge(value, depth - 1) ORDER BY position)
			 FROM jsonb_array_elements(document) WITH ORDINALITY AS member(value, position) WHERE position <= 2)
			|| CASE WHEN jsonb_array_length(document) > 2
					THEN to_jsonb(format('... %s more', jsonb_array_length(document) - 2)) ELSE '[]' END
		WHEN jsonb_typeof(document) = 'string' AND length(document #>> '{}') > 70 THEN
			to_jsonb(left(document #>> '{}', 70) || '...')
		ELSE document END
$$;
CREATE FUNCTION pg_temp.pretty(document jsonb, indent int) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN length(document::text) + indent <= 110 OR jsonb_typeof(document) NOT IN ('object', 'array') THEN document::text
		WHEN jsonb_typeof(document) = 'object' THEN
			(SELECT E'{\n' || string_agg(repeat(' ', indent + 2) || to_json(key) || ': ' || pg_temp.pretty(value, indent + 2), E',\n')
					|| E'\n' || repeat(' ', indent) || '}'
			 FROM jsonb_each(document))
		ELSE
			(SELECT E'[\n' || string_agg(repeat(' ', indent + 2) || pg_temp.pretty(value, indent + 2), E',\n')
					|| E'\n' || repeat(' ', indent) || ']'
			 FROM jsonb_array_elements(document)) END
$$;
SELECT pg_temp.pretty(pg_temp.abridge(:'answer', :depth), 0);
