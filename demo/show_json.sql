-- show_json.sql: a JSON document for people: indented, long lists and texts cut.
-- psql -A -t -v answer='...' -f demo/show_json.sql
CREATE FUNCTION pg_temp.abridge(document jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT CASE jsonb_typeof(document)
		WHEN 'object' THEN
			(SELECT coalesce(jsonb_object_agg(key, pg_temp.abridge(value)), '{}') FROM jsonb_each(document))
		WHEN 'array' THEN
			(SELECT coalesce(jsonb_agg(pg_temp.abridge(value) ORDER BY position) FILTER (WHERE position <= 3), '[]')
			 FROM jsonb_array_elements(document) WITH ORDINALITY AS member(value, position))
			|| CASE WHEN jsonb_array_length(document) > 3
					THEN to_jsonb(format('... %s more', jsonb_array_length(document) - 3)) ELSE '[]' END
		WHEN 'string' THEN
			CASE WHEN length(document #>> '{}') > 160 THEN to_jsonb(left(document #>> '{}', 160) || '...') ELSE document END
		ELSE document END
$$;
SELECT jsonb_pretty(pg_temp.abridge(:'answer'));
