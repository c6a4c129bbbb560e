CREATE OR REPLACE FUNCTION factory.current_tenant() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_current_tenant';
COMMENT ON FUNCTION factory.current_tenant() IS
'the tenant this session works for';

CREATE OR REPLACE FUNCTION factory.clock_now() RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_clock_now';
COMMENT ON FUNCTION factory.clock_now() IS
'the time as the factory sees it: the wall clock, or factory.frozen_clock';

CREATE OR REPLACE FUNCTION factory.schedule_next(schedule text, after timestamptz DEFAULT NULL,
	timezone text DEFAULT NULL, count int DEFAULT 1)
RETURNS SETOF timestamptz
LANGUAGE c STABLE PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'factory_schedule_next';
COMMENT ON FUNCTION factory.schedule_next(text, timestamptz, text, int) IS
'the next due times of a schedule: after now, in the plant''s time zone, unless said otherwise';
REVOKE ALL ON FUNCTION factory.schedule_next(text, timestamptz, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.schedule_next(text, timestamptz, text, int)
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
