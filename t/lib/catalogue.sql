-- Everything that the catalogue says of schema factory, a row a fact, without OIDs.
WITH relation AS (
	SELECT c.* FROM pg_class AS c WHERE c.relnamespace = 'factory'::regnamespace
		AND NOT (c.relname ~ '_[0-9]{4}_[0-9]{2}(_|$)')
), routine AS (
	SELECT p.* FROM pg_proc AS p WHERE p.pronamespace = 'factory'::regnamespace
), fact (object, kind, says) AS (
	SELECT p.oid::regprocedure::text, 'function', CASE p.prokind
		WHEN 'a' THEN (SELECT (to_jsonb(a) - 'aggfnoid')::text FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid)
		ELSE pg_get_functiondef(p.oid) END FROM routine AS p
	UNION ALL
	SELECT p.oid::regprocedure::text, 'function owner', p.proowner::regrole::text FROM routine AS p
	UNION ALL
	SELECT p.oid::regprocedure::text, 'function grant', (a.grantee::regrole, a.grantor::regrole, a.privilege_type, a.is_grantable)::text
	FROM routine AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
	UNION ALL
	SELECT c.oid::regclass::text, 'relation', (c.relkind, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity,
		c.relpersistence, c.reloptions, c.relispartition)::text FROM relation AS c
	UNION ALL
	SELECT c.oid::regclass::text, 'relation grant', (a.grantee::regrole, a.grantor::regrole, a.privilege_type, a.is_grantable)::text
	FROM relation AS c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS a WHERE c.relkind IN ('r', 'p', 'v')
	UNION ALL
	SELECT c.oid::regclass::text, 'column', (row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
		a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(c.oid, a.attnum))::text
	FROM relation AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'v', 'c')
	UNION ALL
	SELECT c.oid::regclass::text, 'view', pg_get_viewdef(c.oid) FROM relation AS c WHERE c.relkind = 'v'
	UNION ALL
	SELECT c.oid::regclass::text, 'index', pg_get_indexdef(i.indexrelid) FROM relation AS c JOIN pg_index AS i ON i.indrelid = c.oid
	UNION ALL
	SELECT c.oid::regclass::text, 'constraint', (n.conname, pg_get_constraintdef(n.oid))::text
	FROM relation AS c JOIN pg_constraint AS n ON n.conrelid = c.oid WHERE n.contype <> 'n'
	UNION ALL
	SELECT c.oid::regclass::text, 'trigger', (t.tgenabled, pg_get_triggerdef(t.oid))::text
	FROM relation AS c JOIN pg_trigger AS t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
	UNION ALL
	SELECT c.oid::regclass::text, 'policy', (p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[],
		pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))::text
	FROM relation AS c JOIN pg_policy AS p ON p.polrelid = c.oid
	UNION ALL
	SELECT pg_describe_object(d.classoid, d.objoid, 0), 'comment', d.description FROM pg_description AS d
	WHERE d.objsubid = 0 AND ((d.classoid = 'pg_class'::regclass AND d.objoid IN (SELECT oid FROM relation))
		OR (d.classoid = 'pg_proc'::regclass AND d.objoid IN (SELECT oid FROM routine)))
	UNION ALL
	SELECT pg_describe_object(d.classid, d.objid, d.objsubid), 'member', e.extname FROM pg_depend AS d
	JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'pg_factory'
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	UNION ALL
	SELECT t.relation::regclass::text, 'dumped', t.condition
	FROM pg_extension AS e, unnest(e.extconfig, e.extcondition) AS t (relation, condition) WHERE e.extname = 'pg_factory'
	UNION ALL
	SELECT nspname, 'schema', (nspowner::regrole, nspacl)::text FROM pg_namespace WHERE nspname = 'factory'
)
SELECT object, kind, says FROM fact ORDER BY object COLLATE "C", kind COLLATE "C", says COLLATE "C";
