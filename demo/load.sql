-- load.sql: the whole plant: tables, 90 days of facts, views (still empty), grants.
-- psql --single-transaction -v ON_ERROR_STOP=1 [-v scale=N] -f demo/load.sql
\ir schema.sql
\ir generate.sql
\ir views.sql

-- What generated statements may read.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO factory_reader;
