-- What every room promises of its SQL, whatever it is.
CREATE TEMP VIEW ours AS
  SELECT classid, objid FROM pg_depend
  WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_factory') AND deptype = 'e';

-- Everything has a comment (but trigger functions, row types and indexes, which nobody calls or names).
SELECT p.oid::regprocedure AS uncommented_function
FROM ours JOIN pg_proc AS p ON classid = 'pg_proc'::regclass AND objid = p.oid
WHERE p.prorettype <> 'trigger'::regtype AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1::text;
SELECT c.oid::regclass AS uncommented_relation
FROM ours JOIN pg_class AS c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1::text;

-- A function that runs SQL does not look names up where its caller says.
SELECT p.oid::regprocedure AS open_search_path
FROM ours JOIN pg_proc AS p ON classid = 'pg_proc'::regclass AND objid = p.oid JOIN pg_language AS l ON l.oid = p.prolang
WHERE (l.lanname = 'plpgsql' OR p.prosecdef)
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search_path=%') ORDER BY 1::text;

-- What is open to everybody: this list and no more.
SELECT p.oid::regprocedure AS public_function
FROM ours JOIN pg_proc AS p ON classid = 'pg_proc'::regclass AND objid = p.oid
WHERE p.prorettype <> 'trigger'::regtype AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS public_relation
FROM ours JOIN pg_class AS c ON classid = 'pg_class'::regclass AND objid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = 0) ORDER BY c.oid::regclass::text COLLATE "C";

-- All of it lies in our schema, and what users write survives a dump (a cache and the history of runs do not).
SELECT pg_describe_object(classid, objid, 0) AS astray FROM ours
WHERE (classid = 'pg_class'::regclass AND (SELECT relnamespace FROM pg_class WHERE oid = objid) <> 'factory'::regnamespace)
   OR (classid = 'pg_proc'::regclass AND (SELECT pronamespace FROM pg_proc WHERE oid = objid) <> 'factory'::regnamespace) ORDER BY 1;
SELECT c.oid::regclass AS undumped_table
FROM ours JOIN pg_class AS c ON classid = 'pg_class'::regclass AND objid = c.oid, pg_extension AS e
WHERE c.relkind IN ('r', 'p') AND e.extname = 'pg_factory' AND NOT coalesce(c.oid = ANY (e.extconfig), false) ORDER BY c.oid::regclass::text COLLATE "C";
