CREATE OR REPLACE FUNCTION factory.flush_cache(decision text DEFAULT NULL, kind text DEFAULT NULL)
RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_flush_cache';
COMMENT ON FUNCTION factory.flush_cache(text, text) IS
'empties this tenant''s cache, or the part of a decision or a kind; returns how many answers went';

CREATE OR REPLACE FUNCTION factory.cache_levels(
	OUT level text, OUT kind text, OUT capacity integer, OUT entries bigint, OUT bytes bigint,
	OUT hits bigint, OUT misses bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_cache_levels';
COMMENT ON FUNCTION factory.cache_levels() IS
'what this tenant''s cache holds, and looks by level and kind; read view cache_stats instead';

CREATE OR REPLACE VIEW factory.cache_stats AS
SELECT level, kind, capacity, entries, bytes, hits, misses,
	pg_catalog.round(hits::numeric / nullif(hits + misses, 0), 4) AS hit_rate
FROM factory.cache_levels();
COMMENT ON VIEW factory.cache_stats IS
'this tenant''s cache by level and kind: entries, bytes, looks that found and that did not since the server started';

REVOKE ALL ON FUNCTION factory.flush_cache(text, text), factory.cache_levels() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.flush_cache(text, text) TO factory_admin, factory_author, factory_operator;
GRANT EXECUTE ON FUNCTION factory.cache_levels() TO factory_admin, factory_author, factory_operator, factory_monitor;
REVOKE ALL ON factory.cache_stats FROM PUBLIC;
GRANT SELECT ON factory.cache_stats TO factory_admin, factory_author, factory_operator, factory_monitor;

CREATE OR REPLACE FUNCTION factory.cache_outdated() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_cache_outdated';
COMMENT ON FUNCTION factory.cache_outdated() IS
'a trigger: empties a kind of the cache, of the row''s tenant, when the change commits';
REVOKE ALL ON FUNCTION factory.cache_outdated() FROM PUBLIC;
