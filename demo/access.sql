-- access.sql: the roles of the demo's HTTP: factoryd logs in as one and speaks as the other.
SELECT format('CREATE ROLE %I %s', name, kind)
FROM (VALUES ('factory_demo_visitor', 'NOLOGIN'), ('factory_demo_web', 'LOGIN NOINHERIT')) AS wanted(name, kind)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
GRANT factory_operator, factory_analyst, factory_monitor TO factory_demo_visitor;
GRANT factory_demo_visitor TO factory_demo_web;
