-- Versions.

CREATE OR REPLACE FUNCTION factory.create_decision(name text, definition jsonb, description text DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_create_decision';
COMMENT ON FUNCTION factory.create_decision(text, jsonb, text) IS
'creates a decision with its first version, deployed; returns the version';

CREATE OR REPLACE FUNCTION factory.save_version(decision text, definition jsonb, changelog text)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_save_version';
COMMENT ON FUNCTION factory.save_version(text, jsonb, text) IS
'adds a version to a decision without deploying it; returns the version';

CREATE OR REPLACE FUNCTION factory.deploy(decision text, version integer, canary_pct numeric DEFAULT NULL, changelog text DEFAULT NULL)
RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_deploy';
COMMENT ON FUNCTION factory.deploy(text, integer, numeric, text) IS
'puts a version in force, in every backend at commit';

CREATE OR REPLACE FUNCTION factory.rollback(decision text, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_rollback';
COMMENT ON FUNCTION factory.rollback(text, text) IS
'puts the version in force before the present one back; returns it';

CREATE OR REPLACE FUNCTION factory.check_decision(definition jsonb, query text DEFAULT NULL,
	OUT level text, OUT rule text, OUT message text, OUT witness jsonb, OUT rows bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_check_decision';
COMMENT ON FUNCTION factory.check_decision(jsonb, text) IS
'everything wrong or odd in a definition: errors, overlaps, rules that never answer, gaps, each with a witness; counted over the rows of a query';

-- The document itself stays in decision_version; its hash tells which it was.
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.decision
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('decision', 'name');
CREATE OR REPLACE TRIGGER audit_change AFTER INSERT OR UPDATE OR DELETE ON factory.decision_version
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('decision_version', 'decision', 'definition');

CREATE OR REPLACE FUNCTION factory.audit_deployment() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF current_setting('row_security') = 'off' OR (TG_OP = 'UPDATE' AND NEW.status = OLD.status) THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'INSERT' AND NEW.status = 'active' THEN
		PERFORM factory.audit('deploy', 'decision', NEW.decision,
			(SELECT jsonb_build_object('version', p.version) FROM factory.deployment AS p
			 WHERE p.tenant_id = NEW.tenant_id AND p.decision = NEW.decision AND p.id < NEW.id
			 ORDER BY p.id DESC LIMIT 1),
			jsonb_build_object('version', NEW.version, 'changelog', NEW.changelog));
	ELSIF TG_OP = 'UPDATE' AND NEW.status <> 'superseded' THEN
		PERFORM factory.audit(CASE NEW.status WHEN 'rolled_back' THEN 'rollback' ELSE 'alter' END,
			'decision', NEW.decision, jsonb_build_object('version', OLD.version, 'status', OLD.status),
			jsonb_build_object('status', NEW.status, 'reason', NEW.reason));
	ELSIF TG_OP = 'DELETE' THEN
		PERFORM factory.audit('drop', 'deployment', OLD.decision, to_jsonb(OLD) - 'tenant_id', NULL);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION factory.audit_deployment() IS
'a trigger: the audit log tells which version was put in force, instead of which';
REVOKE ALL ON FUNCTION factory.audit_deployment() FROM PUBLIC;
CREATE OR REPLACE TRIGGER audit_deployment AFTER INSERT OR UPDATE OR DELETE ON factory.deployment
	FOR EACH ROW EXECUTE FUNCTION factory.audit_deployment();

-- Judging.

CREATE OR REPLACE FUNCTION factory.judge(decision text, input jsonb, policy text DEFAULT NULL,
	need_explanation boolean DEFAULT true, context jsonb DEFAULT NULL, skip_cache boolean DEFAULT false)
RETURNS factory.judgment
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_judge';
COMMENT ON FUNCTION factory.judge(text, jsonb, text, boolean, jsonb, boolean) IS
'judges one input by the version in force, with rules, model or both as the policy says, and logs it';

CREATE OR REPLACE FUNCTION factory.judge_row(decision text, input anyelement, policy text DEFAULT NULL,
	need_explanation boolean DEFAULT true)
RETURNS factory.judgment
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_judge_row';
COMMENT ON FUNCTION factory.judge_row(text, anyelement, text, boolean) IS
'judges a table''s row: columns are inputs by name';

CREATE OR REPLACE FUNCTION factory.decide(decision text, input jsonb, version integer DEFAULT NULL)
RETURNS factory.judgment
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_decide';
COMMENT ON FUNCTION factory.decide(text, jsonb, integer) IS
'judges by rules alone, writing nothing: for WHERE, reports and backtests';

-- Functions with typed arguments, pinned to a version: a language of their own, whose
-- functions have a version's document as their body.

CREATE OR REPLACE FUNCTION factory.decision_call() RETURNS language_handler
LANGUAGE c VOLATILE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'factory_decision_call';
COMMENT ON FUNCTION factory.decision_call() IS 'calls functions of the language factory_decision';

CREATE OR REPLACE FUNCTION factory.decision_validator(function oid) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_decision_validator';
COMMENT ON FUNCTION factory.decision_validator(oid) IS 'checks functions of the language factory_decision when they are created';

CREATE OR REPLACE TRUSTED LANGUAGE factory_decision
HANDLER factory.decision_call VALIDATOR factory.decision_validator;
COMMENT ON LANGUAGE factory_decision IS 'functions that answer by a decision''s rules; made by factory.create_decision_function()';
REVOKE ALL ON LANGUAGE factory_decision FROM PUBLIC;
GRANT USAGE ON LANGUAGE factory_decision TO factory_admin, factory_author;

CREATE OR REPLACE FUNCTION factory.create_decision_function(decision text, version integer DEFAULT NULL,
	name text DEFAULT NULL, answer text DEFAULT 'status')
RETURNS regprocedure
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_create_decision_function';
COMMENT ON FUNCTION factory.create_decision_function(text, integer, text, text) IS
'makes a function with the inputs as typed arguments that answers by one pinned version: for WHERE, CHECK, generated columns, parallel scans';

REVOKE ALL ON FUNCTION factory.decision_call(), factory.decision_validator(oid),
	factory.create_decision_function(text, integer, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.create_decision_function(text, integer, text, text)
TO factory_admin, factory_author;

REVOKE ALL ON FUNCTION
	factory.create_decision(text, jsonb, text), factory.save_version(text, jsonb, text),
	factory.deploy(text, integer, numeric, text), factory.rollback(text, text),
	factory.check_decision(jsonb, text),
	factory.judge(text, jsonb, text, boolean, jsonb, boolean),
	factory.judge_row(text, anyelement, text, boolean),
	factory.decide(text, jsonb, integer)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	factory.create_decision(text, jsonb, text), factory.save_version(text, jsonb, text),
	factory.deploy(text, integer, numeric, text), factory.rollback(text, text),
	factory.check_decision(jsonb, text)
TO factory_admin, factory_author;
GRANT EXECUTE ON FUNCTION
	factory.judge(text, jsonb, text, boolean, jsonb, boolean),
	factory.judge_row(text, anyelement, text, boolean),
	factory.decide(text, jsonb, integer)
TO factory_admin, factory_author, factory_operator;

-- What people read.

CREATE OR REPLACE VIEW factory.decision_definition AS
SELECT v.decision, v.version, p.status AS deployment, v.definition, v.changelog, v.owner, v.created_at
FROM factory.decision_version AS v
LEFT JOIN factory.deployment AS p
	ON p.tenant_id = v.tenant_id AND p.decision = v.decision AND p.version = v.version AND p.status = 'active'
WHERE v.tenant_id = factory.current_tenant();
COMMENT ON VIEW factory.decision_definition IS 'every version with its document, and whether it is in force';

CREATE OR REPLACE VIEW factory.decision_status AS
SELECT d.name AS decision, d.description, p.version AS in_force, p.deployed_by, p.deployed_at,
	(SELECT max(v.version) FROM factory.decision_version AS v
	 WHERE v.tenant_id = d.tenant_id AND v.decision = d.name) AS newest
FROM factory.decision AS d
LEFT JOIN factory.deployment AS p
	ON p.tenant_id = d.tenant_id AND p.decision = d.name AND p.status = 'active'
WHERE d.tenant_id = factory.current_tenant();
COMMENT ON VIEW factory.decision_status IS 'decisions and their versions in force';

REVOKE ALL ON factory.decision_definition, factory.decision_status FROM PUBLIC;
GRANT SELECT ON factory.decision_definition, factory.decision_status
	TO factory_admin, factory_author, factory_operator;
