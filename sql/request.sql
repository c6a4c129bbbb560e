-- What a request's transaction begins with, and what the next one finds of it.
\set SHOW_CONTEXT never
CREATE ROLE request_one;
CREATE ROLE request_two;
-- The fields as factoryd writes them: each its length in bytes, a colon, itself, a comma.
CREATE FUNCTION request(VARIADIC fields text[]) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT string_agg(octet_length(field) || ':' || field || ',', '') FROM unnest(fields) AS field $$;
CREATE VIEW seen AS
SELECT current_user AS role, current_setting('request.jwt.claims', true) AS claims, current_setting('request.method', true) AS method,
	current_setting('request.path', true) AS path, current_setting('request.headers', true) AS headers,
	current_setting('search_path') AS search_path, current_setting('statement_timeout') AS timeout,
	current_setting('transaction_read_only') AS read_only, current_setting('factory.tenant') AS tenant;
GRANT SELECT ON seen TO request_one, request_two;
\pset expanded on

-- A reader's, of a tenant. It is no row, and nothing of the tenant or of reading only outlives it.
BEGIN;
SELECT WHERE factory.begin_request(request('public', '7000', 't', '{"role": "request_one"}', 'GET', '/é', '{"a": ","}', 'request_one', 'north'));
SELECT * FROM seen;
CREATE TABLE nothing ();
ROLLBACK;
-- The next one's, of the same session: each of its fields is another.
BEGIN;
SELECT WHERE factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/rpc/f', '{}', 'request_two'));
SELECT * FROM seen;
COMMIT;
-- What a function before changed, for the session or for the transaction, is set again.
BEGIN;
SELECT set_config('request.headers', '{"forged": true}', false) IS NOT NULL AS changed;
SET LOCAL request.path = '/forged';
SELECT WHERE factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/rpc/g', '{"b": 1}', 'request_two'));
SELECT method, path, headers FROM seen;
COMMIT;
RESET role;
SELECT method, path, headers FROM seen;
-- An error undoes the statement, not what the next request is given.
BEGIN;
SELECT WHERE factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/rpc/g', '{"c": 1}', 'nobody_at_all'));
ROLLBACK;
BEGIN;
SELECT WHERE factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/rpc/h', '{"d": 1}', 'none'));
SELECT role = session_user AS own_user, path, headers FROM seen;
COMMIT;

-- Whoever calls it with something else is told, and nothing is set.
\pset expanded off
\set VERBOSITY terse
SELECT factory.begin_request(NULL);
SELECT factory.begin_request('');
SELECT factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/', '{}'));
SELECT factory.begin_request(request('public', '8000', 'f', '{}', 'POST', '/', '{}', 'request_one', 'north', 'more'));
SELECT factory.begin_request('6public,');
SELECT factory.begin_request('60:public,');
SELECT factory.begin_request('99999999999999999999:public,');
SELECT factory.begin_request('-1:public,');
SELECT factory.begin_request('6:public;4:8000,');
\set VERBOSITY default
SELECT factory.begin_request('5:public,');
SELECT current_user = session_user AS own_user, current_setting('statement_timeout') AS timeout;

-- Nobody reaches a role that is not theirs.
SET SESSION AUTHORIZATION request_one;
SELECT WHERE factory.begin_request(public.request('public', '8000', 'f', '{}', 'POST', '/', '{}', 'request_two'));
SELECT WHERE factory.begin_request(public.request('public', '8000', 'f', '{}', 'POST', '/', '{}', 'request_one', 'north'));
RESET SESSION AUTHORIZATION;

-- As a parameter's type it is a client's alone: no text makes one, wherever it stands.
SELECT '6:public,'::factory.request;
\set VERBOSITY terse
SELECT request('public', '8000', 'f', '{}', 'POST', '/', '{}', 'request_two')::factory.request;
SELECT factory.request '6:public,';
SELECT CAST(NULL AS factory.request) IS NULL AS nothing_begins;
PREPARE asked(factory.request) AS SELECT 1;
EXECUTE asked('6:public,');
DEALLOCATE asked;
CREATE VIEW lurking AS SELECT '6:public,'::factory.request;
DO $$
BEGIN
	PERFORM factory.request_receive('6:public,');
EXCEPTION WHEN undefined_function OR feature_not_supported THEN
	RAISE NOTICE 'nor does a call of what reads it';
END $$;
SET ROLE request_one;
CREATE TEMP TABLE filled (request factory.request);
CREATE FUNCTION pg_temp.taken(factory.request) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN pg_temp.disguised AS factory.request;
RESET ROLE;
-- Nor does generated SQL get that far.
SELECT ok, reason FROM factory.check_sql($$SELECT '6:public,'::factory.request$$);
SELECT ok, reason FROM factory.check_sql($$SELECT factory.begin_request('6:public,')$$);
\set VERBOSITY default

RESET statement_timeout;
DROP VIEW seen;
DROP FUNCTION request;
DROP ROLE request_one;
DROP ROLE request_two;
