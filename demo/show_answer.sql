-- show_answer.sql: asks, and prints the answer for people: SQL, rows, a small chart.
-- psql -v question='...' -f demo/show_answer.sql
\pset footer off
SELECT factory.ask(:'question') AS answer \gset
\pset tuples_only on
\pset format unaligned
SELECT :'answer'::jsonb ->> 'sql';
SELECT '';
SELECT concat_ws(', ', 'source ' || (a ->> 'source'), 'dataset ' || (a ->> 'dataset'),
				 'from ' || (a #>> '{period,from}') || ' until ' || (a #>> '{period,until}'),
				 round((a ->> 'execution_time_ms')::numeric, 1) || ' ms', a ->> 'message')
FROM (SELECT :'answer'::jsonb AS a) AS answer;
SELECT '';
\pset format aligned
\pset tuples_only off
SELECT format('SELECT %s FROM jsonb_array_elements(%L) AS r',
			  string_agg(format('r ->> %s AS %I', position - 1, coalesce(c ->> 'label', c ->> 'name')), ', ' ORDER BY position),
			  :'answer'::jsonb -> 'rows')
FROM jsonb_array_elements(:'answer'::jsonb -> 'columns') WITH ORDINALITY AS columns(c, position) \gexec
\pset tuples_only on
\pset format unaligned
SELECT 'chart: Vega-Lite, mark "' || (chart #>> '{mark,type}') || '"'
FROM (SELECT :'answer'::jsonb -> 'chart' AS chart) AS c WHERE chart #>> '{mark,type}' IS NOT NULL;
-- The last number of each row as a bar.
WITH value_column AS (
	SELECT position::int - 1 AS value, c ->> 'format' = 'percent' AS is_percent
	FROM jsonb_array_elements(:'answer'::jsonb -> 'columns') WITH ORDINALITY AS columns(c, position)
	WHERE c ->> 'type' IN ('numeric', 'double precision', 'real', 'bigint', 'integer')
	ORDER BY position DESC LIMIT 1
), bars AS (
	SELECT position, r ->> 0 AS label, (r ->> value)::numeric AS value, is_percent
	FROM value_column, jsonb_array_elements(:'answer'::jsonb -> 'rows') WITH ORDINALITY AS rows(r, position)
	WHERE value > 0 AND jsonb_array_length(:'answer'::jsonb -> 'rows') > 1
)
SELECT rpad(label, max(length(label)) OVER ()) || '  ' || repeat('█', round(40 * value / nullif(max(value) OVER (), 0))::int) || ' '
	   || CASE WHEN is_percent THEN round(100 * value, 2) || ' %' ELSE trim_scale(round(value, 2))::text END
FROM bars ORDER BY position;
