-- catalog.sql: puts the catalogue of questions into force; nothing where it is already.
-- psql -v catalog="$(cat demo/catalog.json)" -f demo/catalog.sql
SELECT :'catalog'::jsonb IS DISTINCT FROM (SELECT document FROM factory.catalog
										   WHERE domain = :'catalog'::jsonb ->> 'domain'
										   ORDER BY version DESC LIMIT 1) AS changed \gset
\if :changed
SELECT factory.load_catalog(:'catalog');
\endif
