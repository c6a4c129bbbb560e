-- What docs/reference/privileges.md says, but its last column: a row an object.
WITH role (name, place) AS (
	VALUES ('factory_admin', 1), ('factory_author', 2), ('factory_operator', 3), ('factory_analyst', 4),
		('factory_monitor', 5), ('factory_reader', 6), ('factory_auditor', 7), ('-', 0)
), routine AS (
	SELECT p.*, regexp_replace(p.oid::regprocedure::text, '^factory\.', '') AS called
	FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		AND d.refclassid = 'pg_extension'::regclass
	JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_factory'
	WHERE p.prorettype <> 'trigger'::regtype
), relation AS (
	SELECT c.*, regexp_replace(c.oid::regclass::text, '^factory\.', '') AS called
	FROM pg_class AS c JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
		AND d.refclassid = 'pg_extension'::regclass
	JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_factory'
	WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
)
SELECT 'function', p.called,
	coalesce((SELECT CASE WHEN bool_or(a.grantee = 0) THEN 'everybody'
			ELSE string_agg(replace(r.name, 'factory_', ''), ', ' ORDER BY r.place) END
		FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
		JOIN role AS r ON r.name = a.grantee::regrole::text), 'the house'),
	CASE WHEN p.prosecdef THEN replace(p.proowner::regrole::text, 'factory_', '') ELSE 'caller' END,
	CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
	CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END
FROM routine AS p
UNION ALL
SELECT CASE WHEN c.relkind IN ('r', 'p') THEN 'table' ELSE 'view' END, c.called,
	coalesce(string_agg(DISTINCT replace(r.name, 'factory_', ''), ', ') FILTER (WHERE a.privilege_type = 'SELECT'), 'the house'),
	coalesce(string_agg(DISTINCT replace(r.name, 'factory_', ''), ', ') FILTER (WHERE a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')), 'the house'),
	'', ''
FROM relation AS c LEFT JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a
	ON a.grantee <> c.relowner AND a.grantee::regrole::text <> 'factory_owner'
LEFT JOIN role AS r ON r.name = a.grantee::regrole::text
GROUP BY c.relkind, c.called
ORDER BY 1, 2;
