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

CREATE OR REPLACE FUNCTION factory.lock_decision(decision text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_lock_decision';
COMMENT ON FUNCTION factory.lock_decision(text) IS
'keeps others from changing what of a decision is in force until the transaction ends';
REVOKE ALL ON FUNCTION factory.lock_decision(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.hold_dependencies(decision text, version integer) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_hold_dependencies';
COMMENT ON FUNCTION factory.hold_dependencies(text, integer) IS
'keeps others from dropping what a version uses until the transaction ends; an error where something is missing';
REVOKE ALL ON FUNCTION factory.hold_dependencies(text, integer) FROM PUBLIC;

-- Who wrote a version does not put it in force, where two persons are asked for: neither
-- as the role that owns it nor as the one that was logged in.  A login that acts for many
-- (factoryd's) counts as the roles it acts as.
CREATE OR REPLACE FUNCTION factory.require_second_person(saved factory.decision_version) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me CONSTANT name := factory.acting_role();
	author CONSTANT name := saved.owner::text;
BEGIN
	IF current_setting('factory.require_second_person')::boolean
		AND (author IN (me, session_user)
			OR (saved.saved_by = session_user AND (me = session_user OR author = saved.saved_by)))
	THEN
		RAISE EXCEPTION 'version % of decision "%" is to be deployed by another person', saved.version, saved.decision
			USING ERRCODE = 'PF106', DETAIL = format('"%s" saved it.', author),
				HINT = 'Let somebody else deploy it, as factory.require_second_person asks.';
	END IF;
END
$$;
COMMENT ON FUNCTION factory.require_second_person(factory.decision_version) IS
'raises where who deploys a version is who saved it, and two persons are asked for';
REVOKE ALL ON FUNCTION factory.require_second_person(factory.decision_version) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.deploy(decision text, version integer, canary_pct numeric DEFAULT NULL, changelog text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	saved factory.decision_version;
	in_force integer;
	note text;
BEGIN
	IF deploy.version IS NULL THEN
		RAISE EXCEPTION 'argument "version" must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM factory.lock_decision(deploy.decision);
	SELECT * INTO saved FROM factory.decision_version AS v
	WHERE v.tenant_id = factory.current_tenant() AND v.decision = deploy.decision AND v.version = deploy.version;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'decision "%" has no version %', deploy.decision, deploy.version
			USING ERRCODE = 'PF103', HINT = 'View factory.decision_definition lists the versions.';
	END IF;
	note := coalesce(deploy.changelog, saved.changelog);
	IF coalesce(btrim(note), '') = '' THEN
		RAISE EXCEPTION 'a deployment says what it changes'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give it as changelog => ''...''.';
	END IF;
	PERFORM factory.require_second_person(saved);
	SELECT p.version INTO in_force FROM factory.deployment AS p
	WHERE p.tenant_id = saved.tenant_id AND p.decision = saved.decision AND p.status = 'active';
	IF deploy.canary_pct IS NOT NULL THEN
		IF deploy.canary_pct <= 0 OR deploy.canary_pct >= 100 OR deploy.canary_pct = 'NaN' THEN
			RAISE EXCEPTION 'a canary has more than 0 and less than 100 percent, not %', deploy.canary_pct
				USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave "canary_pct" out to deploy to all.';
		ELSIF in_force IS NULL OR in_force = deploy.version THEN
			RAISE EXCEPTION 'decision "%" has no other version in force', deploy.decision
				USING ERRCODE = 'object_not_in_prerequisite_state',
					HINT = 'A canary is tried beside another version; leave "canary_pct" out to deploy to all.';
		END IF;
	END IF;
	PERFORM factory.hold_dependencies(saved.decision, saved.version);
	UPDATE factory.deployment AS p SET ended_at = factory.clock_now(),
		status = CASE p.status WHEN 'canary' THEN 'withdrawn' ELSE 'superseded' END
	WHERE p.tenant_id = saved.tenant_id AND p.decision = saved.decision
		AND (p.status = 'canary' OR (p.status = 'active' AND deploy.canary_pct IS NULL));
	INSERT INTO factory.deployment (tenant_id, decision, version, status, canary_pct, changelog, deployed_by, deployed_at)
	VALUES (saved.tenant_id, saved.decision, saved.version,
		CASE WHEN deploy.canary_pct IS NULL THEN 'active' ELSE 'canary' END,
		deploy.canary_pct, note, factory.acting_role()::text::regrole, factory.clock_now());
END
$$;
COMMENT ON FUNCTION factory.deploy(text, integer, numeric, text) IS
'puts a version in force, in every backend at commit; with canary_pct for that share of inputs only, beside the one in force';

CREATE OR REPLACE FUNCTION factory.promote(decision text) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	canary factory.deployment;
	saved factory.decision_version;
BEGIN
	PERFORM factory.lock_decision(promote.decision);
	SELECT * INTO canary FROM factory.deployment AS p
	WHERE p.tenant_id = factory.current_tenant() AND p.decision = promote.decision AND p.status = 'canary';
	IF NOT FOUND THEN
		RAISE EXCEPTION 'decision "%" has no canary', promote.decision
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Begin one with factory.deploy(decision, version, canary_pct => 10).';
	END IF;
	SELECT * INTO saved FROM factory.decision_version AS v
	WHERE v.tenant_id = canary.tenant_id AND v.decision = canary.decision AND v.version = canary.version;
	PERFORM factory.require_second_person(saved);
	PERFORM factory.end_canary(canary, 'active', NULL);
	RETURN canary.version;
END
$$;
COMMENT ON FUNCTION factory.promote(text) IS
'gives all inputs to the version that is a canary; returns it';

-- Good or bad: to "active" or to "rolled_back".
CREATE OR REPLACE FUNCTION factory.end_canary(canary factory.deployment, outcome text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF outcome = 'active' THEN
		UPDATE factory.deployment AS p SET status = 'superseded', ended_at = factory.clock_now()
		WHERE p.tenant_id = canary.tenant_id AND p.decision = canary.decision AND p.status = 'active';
	END IF;
	UPDATE factory.deployment AS p SET status = outcome, reason = end_canary.reason,
		canary_pct = CASE outcome WHEN 'active' THEN NULL ELSE p.canary_pct END,
		ended_at = CASE outcome WHEN 'active' THEN NULL ELSE factory.clock_now() END
	WHERE p.tenant_id = canary.tenant_id AND p.decision = canary.decision AND p.id = canary.id;
END
$$;
COMMENT ON FUNCTION factory.end_canary(factory.deployment, text, text) IS
'a canary is promoted or rolled back';
REVOKE ALL ON FUNCTION factory.end_canary(factory.deployment, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION factory.rollback(decision text, reason text DEFAULT NULL)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	mine CONSTANT text := factory.current_tenant();
	in_force factory.deployment;
	canary factory.deployment;
	earlier integer;
BEGIN
	PERFORM factory.lock_decision(rollback.decision);
	SELECT * INTO canary FROM factory.deployment AS p
	WHERE p.tenant_id = mine AND p.decision = rollback.decision AND p.status = 'canary';
	SELECT * INTO in_force FROM factory.deployment AS p
	WHERE p.tenant_id = mine AND p.decision = rollback.decision AND p.status = 'active';
	IF canary.id IS NOT NULL THEN
		PERFORM factory.end_canary(canary, 'rolled_back', rollback.reason);
		RETURN in_force.version;
	END IF;
	SELECT p.version INTO earlier FROM factory.deployment AS p
	WHERE p.tenant_id = mine AND p.decision = rollback.decision AND p.status = 'superseded' AND p.version <> in_force.version
	ORDER BY p.ended_at DESC, p.id DESC LIMIT 1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'decision "%" has no earlier deployment', rollback.decision
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Deploy the version that is wanted.';
	END IF;
	PERFORM factory.hold_dependencies(in_force.decision, earlier);
	UPDATE factory.deployment AS p SET status = 'rolled_back', ended_at = factory.clock_now(), reason = rollback.reason
	WHERE p.tenant_id = mine AND p.decision = in_force.decision AND p.id = in_force.id;
	INSERT INTO factory.deployment (tenant_id, decision, version, status, changelog, deployed_by, deployed_at)
	VALUES (mine, in_force.decision, earlier, 'active', 'rollback', factory.acting_role()::text::regrole, factory.clock_now());
	RETURN earlier;
END
$$;
COMMENT ON FUNCTION factory.rollback(text, text) IS
'ends a canary, or else puts the version in force before the present one back; returns the one in force';

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
	FOR EACH ROW EXECUTE FUNCTION factory.audit_change('decision_version', 'decision', 'definition', 'saved_by');

CREATE OR REPLACE FUNCTION factory.audit_deployment() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF current_setting('row_security') = 'off' OR (TG_OP = 'UPDATE' AND NEW.status = OLD.status) THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'DELETE' THEN
		PERFORM factory.audit('drop', 'deployment', OLD.decision, to_jsonb(OLD) - 'tenant_id', NULL);
		RETURN NULL;
	END IF;
	IF NEW.status IN ('active', 'canary', 'rolled_back') THEN
		PERFORM factory.tell(CASE WHEN NEW.status = 'rolled_back' THEN 'rule.rolled_back'
				WHEN NEW.status = 'canary' THEN 'rule.canary'
				WHEN TG_OP = 'UPDATE' THEN 'rule.promoted' ELSE 'rule.deployed' END,
			jsonb_build_object('tenant_id', NEW.tenant_id, 'decision', NEW.decision, 'version', NEW.version,
				'reason', NEW.reason, 'canary_pct', CASE NEW.status WHEN 'canary' THEN NEW.canary_pct END));
	END IF;
	IF TG_OP = 'INSERT' AND NEW.status IN ('active', 'canary') THEN
		PERFORM factory.audit('deploy', 'decision', NEW.decision,
			(SELECT jsonb_build_object('version', p.version) FROM factory.deployment AS p
			 WHERE p.tenant_id = NEW.tenant_id AND p.decision = NEW.decision AND p.id <> NEW.id
				AND (p.status IN ('active', 'superseded') OR (p.status = 'rolled_back' AND p.canary_pct IS NULL))
			 ORDER BY p.status = 'active' DESC, p.ended_at DESC, p.id DESC LIMIT 1),
			jsonb_build_object('version', NEW.version, 'changelog', NEW.changelog)
				|| CASE WHEN NEW.status = 'canary' THEN jsonb_build_object('canary_pct', NEW.canary_pct) ELSE '{}' END);
	ELSIF TG_OP = 'UPDATE' AND NEW.status <> 'superseded' THEN
		PERFORM factory.audit(CASE NEW.status WHEN 'rolled_back' THEN 'rollback' WHEN 'active' THEN 'promote' ELSE 'alter' END,
			'decision', NEW.decision, jsonb_build_object('version', OLD.version, 'status', OLD.status),
			jsonb_build_object('status', NEW.status, 'reason', NEW.reason));
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION factory.audit_deployment() IS
'a trigger: the audit log tells which version was put in force, instead of which';
REVOKE ALL ON FUNCTION factory.audit_deployment() FROM PUBLIC;
CREATE OR REPLACE TRIGGER audit_deployment AFTER INSERT OR UPDATE OR DELETE ON factory.deployment
	FOR EACH ROW EXECUTE FUNCTION factory.audit_deployment();

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
	factory.deploy(text, integer, numeric, text), factory.promote(text), factory.rollback(text, text),
	factory.check_decision(jsonb, text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	factory.create_decision(text, jsonb, text), factory.save_version(text, jsonb, text),
	factory.deploy(text, integer, numeric, text), factory.promote(text), factory.rollback(text, text),
	factory.check_decision(jsonb, text)
TO factory_admin, factory_author;

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

CREATE OR REPLACE FUNCTION factory.list_compiled_decisions(OUT decision text, OUT version integer, OUT rules integer,
	OUT rules_read integer, OUT from_image boolean, OUT index_bytes bigint, OUT memory_bytes bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'factory_list_compiled_decisions';
COMMENT ON FUNCTION factory.list_compiled_decisions() IS 'the decisions that this session keeps compiled, for view decision_memory';
REVOKE ALL ON FUNCTION factory.list_compiled_decisions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.list_compiled_decisions() TO factory_admin, factory_author, factory_operator;

CREATE OR REPLACE VIEW factory.decision_memory AS
SELECT decision, version, rules, rules_read, from_image, index_bytes, memory_bytes
FROM factory.list_compiled_decisions();
COMMENT ON VIEW factory.decision_memory IS 'memory of this session''s compiled decisions: the rule index, and all of it; how many rules were read so far';
