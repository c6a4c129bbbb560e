-- What the statements of the corpora read, or try to.
CREATE TABLE reading (tenant_id text DEFAULT 'default', value integer);
INSERT INTO reading (value) SELECT generate_series(1, 5);
CREATE VIEW reading_view AS SELECT 'x'::text AS name, value FROM reading;
CREATE TABLE production (tenant_id text DEFAULT 'default', date date, line_code text, shift text,
	total_qty integer, defect_qty integer, attributes jsonb);
INSERT INTO production (date, line_code, shift, total_qty, defect_qty, attributes)
SELECT date '2026-01-01' + n, (ARRAY['LINE-A', 'LINE-B', 'L01'])[n % 3 + 1], (ARRAY['day', 'night'])[n % 2 + 1],
	100 + n, n % 7, '{"speed": 5, "a": {"b": 1}}'
FROM generate_series(0, 29) AS n;
CREATE TABLE secret (value integer);
CREATE SCHEMA hidden;
CREATE TABLE hidden.thing (value integer);
CREATE SEQUENCE counter;
CREATE VIEW sleepy_view AS SELECT pg_sleep(1) IS NULL AS slept, value FROM reading;
CREATE VIEW catalog_view AS SELECT rolname FROM pg_roles;
CREATE FUNCTION sneaky(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION positive(integer) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 > 0; END';
CREATE FUNCTION same(integer, integer) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN $1 = $2; END';
CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = same);
CREATE FUNCTION odd_less(integer, integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 < $2; END';
CREATE FUNCTION odd_order(integer, integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 - $2; END';
CREATE OPERATOR <<< (LEFTARG = integer, RIGHTARG = integer, FUNCTION = odd_less);
CREATE OPERATOR CLASS odd_ops FOR TYPE integer USING btree AS OPERATOR 1 <<<, FUNCTION 1 odd_order(integer, integer);
CREATE AGGREGATE strange_sum (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE DOMAIN positive AS integer CHECK (positive(VALUE));
GRANT SELECT ON reading, production, reading_view, sleepy_view, catalog_view, counter TO factory_reader;
