-- Everything of ours is closed until it is opened, function by function.
REVOKE ALL ON SCHEMA factory FROM PUBLIC;
GRANT USAGE ON SCHEMA factory TO PUBLIC;

-- Group roles.  They outlive the extension, like any role.
DO $$
DECLARE
	wanted text;
BEGIN
	FOREACH wanted IN ARRAY ARRAY['factory_admin', 'factory_author', 'factory_operator',
								  'factory_analyst', 'factory_reader', 'factory_monitor']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
			EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
		END IF;
	END LOOP;
END
$$;
