-- Metrics are text in Prometheus' format, every line of it.
SELECT factory.reset_metrics();
CREATE TEMP VIEW line AS
  SELECT number, text FROM string_to_table(factory.metrics(), E'\n') WITH ORDINALITY AS l(text, number);
SELECT count(*) FILTER (WHERE text !~ '^$|^# (HELP|TYPE) [a-z_]+ |^[a-z_]+(\{[a-z_]+="([^"\\]|\\.)*"(,[a-z_]+="([^"\\]|\\.)*")*\})? -?[0-9.e+-]+$') AS malformed,
       count(*) > 40 AS plenty
FROM line;

-- What is counted, and as what.
SELECT split_part(text, ' ', 3) AS metric, split_part(text, ' ', 4) AS type FROM line WHERE text LIKE '# TYPE %' ORDER BY number;
SELECT regexp_replace(text, 'postgresql="[^"]*"', 'postgresql="..."') AS build FROM line WHERE text LIKE 'factory_build_info{%';

-- The server's numbers are not for everybody.
CREATE ROLE metrics_nobody;
SET ROLE metrics_nobody;
SELECT factory.metrics();
SELECT factory.reset_metrics();
RESET ROLE;
GRANT factory_monitor TO metrics_nobody;
SET ROLE metrics_nobody;
SELECT factory.metrics() LIKE '# HELP factory_build_info %' AS visible;
SELECT factory.reset_metrics();
RESET ROLE;
DROP ROLE metrics_nobody;
