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
