-- What the question corpus is checked with, in the demo plant's database.
CREATE VIEW p AS SELECT * FROM fact_daily_production WHERE tenant_id = 'default';
CREATE VIEW d AS SELECT * FROM fact_daily_defect WHERE tenant_id = 'default';
CREATE VIEW h AS SELECT hour_timestamp AT TIME ZONE 'Asia/Seoul' AS hour, line_code, product_code, total_qty, good_qty, defect_qty
FROM fact_hourly_production WHERE tenant_id = 'default';
CREATE VIEW s AS SELECT * FROM fact_inventory_snapshot WHERE tenant_id = 'default';
CREATE VIEW e AS SELECT * FROM fact_equipment_event WHERE tenant_id = 'default';
CREATE FUNCTION rate(a numeric, b numeric) RETURNS numeric LANGUAGE sql AS 'SELECT round(a / nullif(b, 0), 6)';

-- The rows of a statement as an array of arrays.
CREATE FUNCTION rows_of(statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	EXECUTE 'SELECT coalesce(jsonb_agg((SELECT jsonb_agg(value::jsonb) FROM json_each(row_to_json(the_row)))), ''[]'') FROM ('
		|| statement || ') AS the_row' INTO result;
	RETURN result;
END $$;

-- Short rows as they are, long ones by count and checksum.
CREATE FUNCTION shown(result jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN jsonb_array_length(result) <= 8 THEN result::text
				ELSE jsonb_array_length(result) || ' rows ' || md5((SELECT string_agg(CASE jsonb_typeof(value)
					WHEN 'number' THEN trim_scale(value::text::numeric)::text ELSE value::text END, ' ' ORDER BY n, m)
					FROM jsonb_array_elements(result) WITH ORDINALITY AS r(row, n), jsonb_array_elements(row) WITH ORDINALITY AS c(value, m))) END
$$;

-- What is wrong with the answer; NULL where nothing is.
CREATE FUNCTION wrong(question text, before text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb := factory.ask(question, CASE WHEN before <> '' THEN factory.ask(before) END);
BEGIN
	IF answer -> 'clarification' <> 'null' THEN
		RETURN 'ASKS: ' || (answer #>> '{clarification,question}');
	END IF;
	IF answer -> 'rows' <> rows_of(statement) THEN
		RETURN format('WRONG: %s instead of %s by %s', shown(answer -> 'rows'), shown(rows_of(statement)), answer ->> 'sql');
	END IF;
	IF answer ->> 'source' NOT IN ('catalog', 'verified', 'cache') THEN
		RETURN 'SOURCE: ' || (answer ->> 'source');
	END IF;
	RETURN NULL;
END $$;
