/*
 * catalog_sql.c
 *		What is asked of the database about what it serves: one statement, one document.
 *
 * $2 is FACTORYD_SCHEMAS, $3 the role of FACTORYD_ANON_ROLE.  Which tables and schemas a
 * caller may use is not asked here: the statements of requests run as their callers.
 */
#include "catalog_int.h"

#define SERVED_SCHEMAS \
	"pg_catalog.unnest(pg_catalog.string_to_array($2, ','))" \
	" WITH ORDINALITY AS s(name, position)" \
	" JOIN pg_catalog.pg_namespace n ON n.nspname = pg_catalog.btrim(s.name)"

#define ARGUMENTS \
	"SELECT pg_catalog.json_agg(pg_catalog.json_build_object(" \
	"   'name', coalesce(i.name, '')," \
	"   'type', pg_catalog.format('%I.%I', tn.nspname, at.typname)," \
	"   'required', i.position <= p.pronargs - p.pronargdefaults)" \
	"  ORDER BY i.position) AS list," \
	" pg_catalog.bool_or(at.typtype = 'p') AS has_pseudo" \
	" FROM (SELECT u.type, u.name," \
	"   pg_catalog.row_number() OVER (ORDER BY u.ordinality) AS position" \
	"  FROM ROWS FROM (" \
	"   pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))," \
	"   pg_catalog.unnest(p.proargnames)," \
	"   pg_catalog.unnest(p.proargmodes::text[]))" \
	"   WITH ORDINALITY AS u(type, name, mode, ordinality)" \
	"  WHERE coalesce(u.mode, 'i') IN ('i', 'b', 'v')) AS i" \
	" JOIN pg_catalog.pg_type at ON at.oid = i.type" \
	" JOIN pg_catalog.pg_namespace tn ON tn.oid = at.typnamespace"

#define HAS_OUT_ARGUMENTS "coalesce(p.proargmodes::text[] && '{t,b,o}'::text[], false)"

#define FUNCTIONS \
	"SELECT pg_catalog.json_agg(found.line" \
	"  ORDER BY found.schema_position, found.name, found.oid) FROM (" \
	" SELECT p.oid, p.proname AS name, s.position AS schema_position," \
	"  pg_catalog.json_build_object('schema', n.nspname, 'name', p.proname," \
	"   'may_write', p.provolatile = 'v', 'is_set', p.proretset," \
	"   'is_composite', t.typtype = 'c' OR " HAS_OUT_ARGUMENTS "," \
	"   'returns', pg_catalog.format('%I.%I', tr.nspname, t.typname)," \
	"   'is_void', t.typname = 'void' AND t.typtype = 'p'," \
	"   'is_variadic', p.provariadic <> 0, 'relation', t.typrelid::text," \
	"   'gives_one', NOT p.proretset OR p.prorows = 1," \
	"   'row_of', (SELECT o.typrelid::text FROM pg_catalog.pg_type o" \
	"     WHERE p.pronargs = 1 AND o.oid = p.proargtypes[0])," \
	"   'comment', pg_catalog.obj_description(p.oid, 'pg_proc')," \
	"   'arguments', coalesce(a.list, '[]'::json)) AS line" \
	" FROM " SERVED_SCHEMAS " JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid" \
	" JOIN pg_catalog.pg_type t ON t.oid = p.prorettype" \
	" JOIN pg_catalog.pg_namespace tr ON tr.oid = t.typnamespace" \
	" LEFT JOIN LATERAL (" ARGUMENTS ") AS a ON true" \
	" WHERE p.prokind = 'f' AND NOT coalesce(a.has_pseudo, false)" \
	"  AND (t.typtype <> 'p' OR t.typname = 'void'" \
	"   OR (t.typname = 'record' AND " HAS_OUT_ARGUMENTS "))) AS found"

#define COLUMNS \
	"SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname," \
	"   'type', pg_catalog.format('%I.%I', tn.nspname, t.typname)," \
	"   'format', pg_catalog.format_type(a.atttypid, a.atttypmod)," \
	"   'base', t.typname," \
	"   'comment', pg_catalog.col_description(c.oid, a.attnum)," \
	"   'default', CASE WHEN a.attgenerated = '' AND a.attidentity = '' THEN" \
	"     pg_catalog.pg_get_expr(d.adbin, d.adrelid) END," \
	"   'generated', a.attgenerated <> '' OR a.attidentity = 'a'," \
	"   'required', a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''," \
	"   'key', coalesce(a.attnum = ANY(k.conkey), false)) ORDER BY a.attnum)" \
	" FROM pg_catalog.pg_attribute a" \
	" JOIN pg_catalog.pg_type t ON t.oid = a.atttypid" \
	" JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace" \
	" LEFT JOIN pg_catalog.pg_attrdef d" \
	"  ON d.adrelid = a.attrelid AND d.adnum = a.attnum" \
	" WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"

/* As pg_relation_is_updatable() has them in its bits. */
#define MAY \
	"c.relkind IN ('r', 'p')" \
	" OR pg_catalog.pg_relation_is_updatable(c.oid, true) & "

#define RELATIONS \
	"SELECT pg_catalog.json_agg(found.line" \
	"  ORDER BY found.schema_position, found.name) FROM (" \
	" SELECT c.relname AS name, s.position AS schema_position," \
	"  pg_catalog.json_build_object('schema', n.nspname, 'name', c.relname," \
	"   'oid', c.oid::text," \
	"   'comment', pg_catalog.obj_description(c.oid, 'pg_class')," \
	"   'insert', " MAY "8 <> 0, 'update', " MAY "4 <> 0," \
	"   'delete', " MAY "16 <> 0, 'columns', (" COLUMNS ")) AS line" \
	" FROM " SERVED_SCHEMAS " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid" \
	"  AND c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition" \
	" LEFT JOIN pg_catalog.pg_constraint k" \
	"  ON k.conrelid = c.oid AND k.contype = 'p') AS found"

/*
 * A view has the keys of the tables under it, as far as it shows their columns.  Where a
 * column comes from the parser has noted in the view's rule, for every query in it; a
 * column of one name and place that two of them have from elsewhere is left out.  A
 * column that was renamed has its old name there: then the view's own note, which comes
 * after those of the queries under it, is another than that of the new name.
 */
#define VIEWS \
	"views(relation) AS (" \
	" SELECT c.oid FROM " SERVED_SCHEMAS \
	" JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid" \
	" WHERE c.relkind IN ('v', 'm')" \
	" UNION" \
	" SELECT c.oid FROM views v" \
	" JOIN pg_catalog.pg_rewrite r ON r.ev_class = v.relation" \
	" JOIN pg_catalog.pg_depend d ON d.objid = r.oid" \
	"  AND d.classid = 'pg_catalog.pg_rewrite'::regclass" \
	"  AND d.refclassid = 'pg_catalog.pg_class'::regclass" \
	" JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind IN ('v', 'm'))"

/* "N :resname NAME :ressortgroupref N :resorigtbl OID :resorigcol N :resjunk ..." */
#define NOTES \
	"(SELECT pg_catalog.left(piece, 400), place FROM pg_catalog.string_to_table(" \
	"  (SELECT r.ev_action::text FROM pg_catalog.pg_rewrite r" \
	"   WHERE r.ev_class = v.relation AND r.rulename = '_RETURN'), ' :resno ')" \
	"  WITH ORDINALITY AS pieces(piece, place)) AS t(note, place)"

#define NOTED_NAME \
	"pg_catalog.regexp_replace(pg_catalog.split_part(pg_catalog.split_part(" \
	"t.note, ' :resname ', 2), ' :ressortgroupref ', 1), E'\\\\\\\\(.)', E'\\\\1', 'g')"

#define NOTED_AFTER(word) \
	"pg_catalog.split_part(pg_catalog.split_part(t.note, " word ", 2), ' ', 1)"

#define NOTED_TABLE NOTED_AFTER("' :resorigtbl '")
#define NOTED_COLUMN NOTED_AFTER("' :resorigcol '")

#define NOTED \
	"noted AS (" \
	" SELECT f.relation, f.attnum, pg_catalog.split_part(f.named, ' ', 1)::oid" \
	"  AS source, pg_catalog.split_part(f.named, ' ', 2)::int2 AS source_attnum" \
	" FROM (SELECT v.relation, a.attnum," \
	"   pg_catalog.min(n.source) FILTER (WHERE n.is_named) AS named," \
	"   count(DISTINCT n.source) FILTER (WHERE n.is_named) AS sources," \
	"   (pg_catalog.array_agg(n.source ORDER BY t.place DESC))[1] AS last" \
	"  FROM pg_catalog.unnest(ARRAY(SELECT relation FROM views)) AS v(relation)" \
	"  CROSS JOIN LATERAL " NOTES " JOIN pg_catalog.pg_attribute a" \
	"   ON a.attrelid = v.relation" \
	"   AND a.attnum::text = pg_catalog.split_part(t.note, ' ', 1)" \
	"  CROSS JOIN LATERAL (VALUES (" NOTED_TABLE " || ' ' || " NOTED_COLUMN "," \
	"   a.attname = " NOTED_NAME ")) AS n(source, is_named)" \
	"  GROUP BY 1, 2) AS f" \
	" WHERE f.sources = 1 AND f.named = f.last AND f.named NOT LIKE '0 %')"

/* Through views of views. */
#define TRACED \
	"traced AS (" \
	" SELECT * FROM noted" \
	" UNION ALL" \
	" SELECT t.relation, t.attnum, o.source, o.source_attnum FROM traced t" \
	" JOIN noted o ON o.relation = t.source AND o.attnum = t.source_attnum)"

/* Where the columns of tables are shown: in the table, and in views. */
#define SHOWN \
	"shown AS (" \
	" SELECT t.relation, t.source, t.source_attnum," \
	"  pg_catalog.min(a.attname::text) AS name" \
	" FROM traced t JOIN pg_catalog.pg_attribute a" \
	"  ON a.attrelid = t.relation AND a.attnum = t.attnum" \
	" GROUP BY 1, 2, 3" \
	" UNION ALL" \
	" SELECT a.attrelid, a.attrelid, a.attnum, a.attname" \
	" FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND a.attrelid IN (" \
	"  SELECT pg_catalog.unnest(ARRAY[conrelid, confrelid])" \
	"  FROM pg_catalog.pg_constraint WHERE contype = 'f'))"

/* What shows all columns of one end of a foreign key. */
#define ENDS \
	"ends AS (" \
	" SELECT k.oid, e.is_from, w.relation," \
	"  pg_catalog.json_agg(w.name ORDER BY u.position) AS columns" \
	" FROM pg_catalog.pg_constraint k" \
	" CROSS JOIN LATERAL (VALUES (true, k.conrelid, k.conkey)," \
	"  (false, k.confrelid, k.confkey)) AS e(is_from, source, keys)" \
	" CROSS JOIN LATERAL pg_catalog.unnest(e.keys)" \
	"  WITH ORDINALITY AS u(number, position)" \
	" JOIN shown w ON w.source = e.source AND w.source_attnum = u.number" \
	" WHERE k.contype = 'f' AND k.conparentid = 0" \
	" GROUP BY 1, 2, 3, e.keys" \
	" HAVING count(*) = pg_catalog.cardinality(e.keys))"

#define IS_UNIQUE \
	"EXISTS (SELECT FROM pg_catalog.pg_constraint o" \
	" WHERE o.conrelid = k.conrelid AND o.contype IN ('p', 'u')" \
	"  AND o.conkey <@ k.conkey AND o.conkey @> k.conkey)"

#define IS_IN_KEY \
	"EXISTS (SELECT FROM pg_catalog.pg_constraint o" \
	" WHERE o.conrelid = k.conrelid AND o.contype = 'p' AND k.conkey <@ o.conkey)"

#define TABLE_IS_SERVED \
	"EXISTS (SELECT FROM " SERVED_SCHEMAS " JOIN pg_catalog.pg_class c" \
	" ON c.relnamespace = n.oid WHERE c.oid = k.conrelid)"

/*
 * A view that joins both tables of a key has no link to itself for that, and stands
 * between many and many only where the table does not.
 */
#define LINKS \
	"WITH RECURSIVE " VIEWS ", " NOTED ", " TRACED ", " SHOWN ", " ENDS \
	" SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', k.conname," \
	"   'from', f.relation::text, 'to', t.relation::text," \
	"   'from_columns', f.columns, 'to_columns', t.columns," \
	"   'unique', " IS_UNIQUE "," \
	"   'in_key', (f.relation = k.conrelid OR NOT " TABLE_IS_SERVED ")" \
	"     AND " IS_IN_KEY ")" \
	"  ORDER BY k.conrelid, k.conname, f.relation, t.relation)" \
	" FROM pg_catalog.pg_constraint k" \
	" JOIN ends f ON f.oid = k.oid AND f.is_from" \
	" JOIN ends t ON t.oid = k.oid AND NOT t.is_from" \
	" WHERE f.relation <> t.relation OR k.conrelid = k.confrelid"

#define ANONYMOUS CATALOG_ROLE("$3")

const char catalog_sql[] =
	"SELECT pg_catalog.json_build_object('anonymous', " ANONYMOUS ","
	" 'functions', (" FUNCTIONS "), 'relations', (" RELATIONS "),"
	" 'links', (" LINKS "))::text";
