-- The last of the script, at an upgrade too: everything that runs or reads in the
-- house's name belongs to factory_owner, who is no superuser, so that row security
-- binds the house itself; and it may call all of ours.  A GRANT after a change of owner
-- tells PostgreSQL that the owner is the script's doing: a dump does not repeat it then.
DO $$
DECLARE
	ours record;
BEGIN
	ALTER SCHEMA factory OWNER TO factory_owner;
	GRANT USAGE ON SCHEMA factory TO factory_owner;
	FOR ours IN
		SELECT c.oid::pg_catalog.regclass AS name, c.relkind AS kind,
			c.relowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) AS unsettled
		FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
		WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'pg_factory')
			AND c.relkind IN ('r', 'p', 'v')
		ORDER BY c.relkind, c.oid
	LOOP
		IF ours.unsettled THEN
			EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO factory_owner', ours.name);
			EXECUTE pg_catalog.format('GRANT SELECT ON %s TO factory_owner', ours.name);
		END IF;
		IF ours.kind <> 'v' THEN
			PERFORM factory.protect_table(ours.name);
		END IF;
	END LOOP;
	FOR ours IN
		SELECT p.oid::pg_catalog.regprocedure AS name,
			p.prosecdef AND p.proowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) AS definer
		FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_proc AS p ON p.oid = d.objid
		WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e'
			AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'pg_factory')
	LOOP
		IF ours.definer THEN
			EXECUTE pg_catalog.format('ALTER FUNCTION %s OWNER TO factory_owner', ours.name);
		END IF;
		EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO factory_owner', ours.name);
	END LOOP;
END
$$;
