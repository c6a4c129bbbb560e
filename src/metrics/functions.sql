CREATE OR REPLACE FUNCTION factory.metrics() RETURNS text
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_metrics';
COMMENT ON FUNCTION factory.metrics() IS
'every metric of this server, of all databases, in Prometheus'' text format; a role of a tenant gets the tenant''s';

CREATE OR REPLACE FUNCTION factory.reset_metrics() RETURNS void
LANGUAGE c VOLATILE PARALLEL SAFE STRICT
AS 'MODULE_PATHNAME', 'factory_reset_metrics';
COMMENT ON FUNCTION factory.reset_metrics() IS
'starts every counter and histogram of this server from zero again';

REVOKE ALL ON FUNCTION factory.metrics(), factory.reset_metrics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.metrics() TO factory_monitor, factory_admin;
GRANT EXECUTE ON FUNCTION factory.reset_metrics() TO factory_admin;
