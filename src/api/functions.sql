-- What factoryd calls: one function a route. They bind late, and ask for no more
-- rights than their caller has.

-- Before a route's: search path, statement timeout in ms, read only, claims, method, path,
-- headers, role, tenant, in one text. Nameless, so that nobody calls it as a function of
-- the API; for everybody, because it sets nothing that its caller could not.
CREATE OR REPLACE FUNCTION factory.begin_request(text)
RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'factory_begin_request';
COMMENT ON FUNCTION factory.begin_request(text) IS
'makes the session act as a request''s role, with its claims; false, so that WHERE gives no row';

CREATE OR REPLACE FUNCTION factory.api_judgment_execute(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted_decision text := coalesce(request ->> 'workflow_id', request ->> 'decision');
	given jsonb := coalesce(request -> 'input_data', request -> 'input');
	explained boolean := coalesce((request ->> 'need_explanation')::boolean, false);
	judged factory.judgment;
	answer jsonb;
BEGIN
	IF wanted_decision IS NULL THEN
		RAISE EXCEPTION 'the request names no decision'
			USING ERRCODE = 'PF102', HINT = 'Give its name as "workflow_id".';
	END IF;
	IF given IS NULL OR jsonb_typeof(given) <> 'object' THEN
		RAISE EXCEPTION 'the request has no input'
			USING ERRCODE = 'PF102',
				DETAIL = format('Expected an object as "input_data", received %s.',
					coalesce(jsonb_typeof(given), 'nothing')),
				HINT = 'Give the inputs of the decision by name: "input_data": {"line_code": "LINE-A"}.';
	END IF;
	judged := factory.judge(decision => wanted_decision, input => given,
		policy => request ->> 'policy', need_explanation => explained,
		context => request -> 'context',
		skip_cache => coalesce((request ->> 'skip_cache')::boolean, false));
	answer := jsonb_build_object(
		'execution_id', judged.execution_id,
		'judgment_id', judged.execution_id,
		'workflow_id', judged.decision,
		'version', judged.version,
		'result', jsonb_build_object('result', judged.result, 'status', judged.status,
			'severity', judged.severity, 'recommended_actions', judged.recommended_actions),
		'confidence', judged.confidence,
		'method_used', judged.method_used,
		'recommended_actions', judged.recommended_actions,
		'matched_rules', judged.matched_rules,
		'components', judged.components,
		'policy_used', jsonb_strip_nulls(jsonb_build_object('id', judged.policy,
			'rule_weight', judged.components -> 'rule_weight',
			'llm_weight', judged.components -> 'llm_weight')),
		'degraded', judged.degraded,
		'from_cache', judged.from_cache,
		'execution_time_ms', judged.execution_time_ms,
		'created_at', judged.created_at);
	IF explained THEN
		answer := answer || jsonb_build_object('explanation', judged.explanation);
	END IF;
	RETURN answer;
END
$$;
COMMENT ON FUNCTION factory.api_judgment_execute(jsonb) IS
'POST /api/v1/judgment/execute: one judgment of {workflow_id, input_data, policy, need_explanation, context, skip_cache}';

CREATE OR REPLACE FUNCTION factory.api_bi_execute_nl_query(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	asked text := coalesce(request ->> 'query_text', request ->> 'question');
BEGIN
	IF asked IS NULL OR btrim(asked) = '' THEN
		RAISE EXCEPTION 'the request has no question'
			USING ERRCODE = 'PF102', HINT = 'Give it as "query_text".';
	END IF;
	RETURN factory.ask(question => asked, context => request -> 'context');
END
$$;
COMMENT ON FUNCTION factory.api_bi_execute_nl_query(jsonb) IS
'POST /api/v1/bi/execute-nl-query: one question of {query_text, context}';

CREATE OR REPLACE FUNCTION factory.api_widget(widget jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	code text;
	message text;
	hint text;
BEGIN
	RETURN widget || jsonb_build_object('answer', factory.ask(question => widget ->> 'question'));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN widget || jsonb_build_object('error',
		jsonb_build_object('code', code, 'message', message, 'hint', nullif(hint, '')));
END
$$;
COMMENT ON FUNCTION factory.api_widget(jsonb) IS
'a widget {title, question} with its answer, or with the error where it has none';

-- A part of the dashboard that its reader may not see, or that is not there, is left
-- out and named in "missing"; nothing is made up.
CREATE OR REPLACE FUNCTION factory.api_dashboard() RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part record;
	found jsonb;
	answer jsonb := '{}';
	missing jsonb := '[]';
BEGIN
	FOR part IN SELECT * FROM (VALUES
		('recent_judgments',
		 'SELECT coalesce(jsonb_agg(to_jsonb(j) ORDER BY j.created_at DESC, j.execution_id DESC), ''[]'')
		  FROM (SELECT execution_id, decision, version, result, status, severity, confidence,
					method_used, matched_rules, degraded, created_at
				FROM factory.judgment_log WHERE tenant_id = factory.current_tenant()
				ORDER BY created_at DESC, execution_id DESC LIMIT 20) AS j'),
		('widgets',
		 'SELECT coalesce(jsonb_agg(factory.api_widget(w.widget) ORDER BY w.position), ''[]'')
		  FROM jsonb_array_elements(factory.describe_catalog() -> ''widgets'')
			WITH ORDINALITY AS w(widget, position)'),
		('refresh',
		 'SELECT coalesce(jsonb_agg(to_jsonb(s) ORDER BY s.view), ''[]'')
		  FROM (SELECT view, state, schedule, timezone, next_due, last_status, last_started_at,
					last_duration_ms, last_error
				FROM factory.refresh_status WHERE tenant_id = factory.current_tenant()) AS s')
		) AS parts(name, query)
	LOOP
		BEGIN
			EXECUTE part.query INTO found;
			answer := answer || jsonb_build_object(part.name, found);
		EXCEPTION WHEN OTHERS THEN
			missing := missing || jsonb_build_object('part', part.name, 'code', SQLSTATE, 'reason', SQLERRM);
		END;
	END LOOP;
	RETURN answer || jsonb_build_object('missing', missing, 'at', factory.clock_now());
END
$$;
COMMENT ON FUNCTION factory.api_dashboard() IS
'GET /api/v1/dashboard: recent judgments, the catalogue''s widgets answered, and the views'' refreshes';

-- A check is a query of one row: whether all is well, and what was found. One that
-- its caller may not make, or whose room is not there, is skipped: health itself
-- must not fall ill.
CREATE OR REPLACE FUNCTION factory.health() RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	item record;
	well boolean;
	found jsonb;
	answer jsonb;
	checks jsonb := '[]';
	degraded boolean := false;
BEGIN
	answer := jsonb_build_object(
		'version', (SELECT extversion FROM pg_extension WHERE extname = 'pg_factory'),
		'server_version', current_setting('server_version'),
		'database', current_database(),
		'in_recovery', pg_is_in_recovery(),
		-- The library refuses to load any other way.
		'preloaded', EXISTS (SELECT FROM pg_settings WHERE name LIKE 'factory.%' AND boot_val IS NOT NULL));
	FOR item IN SELECT * FROM (VALUES
		('decisions',
		 'SELECT true, jsonb_build_object(''in_force'', count(*)) FROM factory.deployment WHERE status = ''active'''),
		('workers',
		 'SELECT count(*) > 0 OR pg_is_in_recovery(),
			coalesce(jsonb_agg(jsonb_build_object(''kind'', kind, ''database'', database, ''state'', state)
				ORDER BY kind, database), ''[]'')
		  FROM factory.worker_status'),
		('refresh',
		 'SELECT count(*) FILTER (WHERE last_status = ''failed'' OR state = ''dropped'') = 0,
			jsonb_build_object(''scheduled'', count(*),
				''failing'', coalesce(jsonb_agg(view ORDER BY view)
					FILTER (WHERE last_status = ''failed'' OR state = ''dropped''), ''[]''))
		  FROM factory.refresh_status')
		) AS items(name, query)
	LOOP
		BEGIN
			EXECUTE item.query INTO well, found;
			checks := checks || jsonb_build_object('name', item.name,
				'status', CASE WHEN well THEN 'ok' ELSE 'failing' END, 'found', found);
			degraded := degraded OR NOT well;
		EXCEPTION WHEN OTHERS THEN
			checks := checks || jsonb_build_object('name', item.name, 'status', 'skipped', 'reason', SQLERRM);
		END;
	END LOOP;
	RETURN jsonb_build_object('status',
		CASE WHEN degraded OR NOT (answer -> 'preloaded')::boolean THEN 'degraded' ELSE 'ok' END)
		|| answer || jsonb_build_object('checks', checks);
END
$$;
COMMENT ON FUNCTION factory.health() IS
'how this database''s engine is: ok or degraded, with the checks that say so';

CREATE OR REPLACE FUNCTION factory.ready() RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN jsonb_build_object('ready', true, 'read_only', pg_is_in_recovery());
END
$$;
COMMENT ON FUNCTION factory.ready() IS
'whether requests can be answered here; where it answers, they can';

REVOKE ALL ON FUNCTION factory.api_judgment_execute(jsonb), factory.api_bi_execute_nl_query(jsonb),
	factory.api_widget(jsonb), factory.api_dashboard(), factory.health(), factory.ready() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.api_judgment_execute(jsonb)
	TO factory_admin, factory_author, factory_operator;
GRANT EXECUTE ON FUNCTION factory.api_bi_execute_nl_query(jsonb) TO factory_admin, factory_analyst;
GRANT EXECUTE ON FUNCTION factory.api_widget(jsonb), factory.api_dashboard()
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;
GRANT EXECUTE ON FUNCTION factory.health(), factory.ready()
	TO factory_admin, factory_author, factory_operator, factory_analyst, factory_monitor;

-- One judgment as it was logged, and the last ones.

CREATE OR REPLACE FUNCTION factory.api_judgment(execution_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	logged jsonb;
BEGIN
	SELECT to_jsonb(l) - 'tenant_id' INTO logged FROM factory.judgment_history AS l
	WHERE l.execution_id = api_judgment.execution_id LIMIT 1;
	IF logged IS NULL THEN
		RAISE EXCEPTION 'no judgment "%" is logged', execution_id
			USING ERRCODE = 'PT404', HINT = 'GET /api/v1/judgment/recent lists the last ones.';
	END IF;
	RETURN logged;
END
$$;
COMMENT ON FUNCTION factory.api_judgment(uuid) IS
'GET /api/v1/judgment/ID: a judgment as it was logged';

CREATE OR REPLACE FUNCTION factory.api_judgment_recent(most int DEFAULT 20) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(l) - 'tenant_id'), '[]') FROM (
		SELECT * FROM factory.judgment_history
		ORDER BY created_at DESC LIMIT least(greatest(coalesce(most, 20), 1), 100)) AS l
$$;
COMMENT ON FUNCTION factory.api_judgment_recent(int) IS
'GET /api/v1/judgment/recent: the last judgments, 100 at most';

CREATE OR REPLACE FUNCTION factory.api_feedback(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given text := coalesce(request ->> 'feedback_type', request ->> 'kind');
BEGIN
	IF request ->> 'execution_id' IS NULL OR given IS NULL THEN
		RAISE EXCEPTION 'the request names no judgment or no kind of feedback'
			USING ERRCODE = 'PF102', HINT = 'Give "execution_id" and "feedback_type".';
	END IF;
	PERFORM factory.feedback(execution_id => (request ->> 'execution_id')::uuid, kind => given,
		correct_result => request -> 'correct_result', comment => request ->> 'comment');
	RETURN jsonb_build_object('execution_id', request ->> 'execution_id', 'feedback_type', given);
END
$$;
COMMENT ON FUNCTION factory.api_feedback(jsonb) IS
'POST /api/v1/feedback: {execution_id, feedback_type, correct_result, comment}';

CREATE OR REPLACE FUNCTION factory.api_approval(execution_id uuid, request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	answer jsonb := '{}';
BEGIN
	CASE request ->> 'action'
		WHEN 'approve' THEN
			answer := jsonb_build_object('outcome',
				factory.approve(execution_id => api_approval.execution_id, comment => request ->> 'comment'));
		WHEN 'reject' THEN
			PERFORM factory.reject(execution_id => api_approval.execution_id, comment => request ->> 'comment',
				correct_result => request -> 'correct_result');
		ELSE
			RAISE EXCEPTION 'the request says neither approve nor reject'
				USING ERRCODE = 'PF102', HINT = 'Give "action": "approve" or "action": "reject".';
	END CASE;
	RETURN jsonb_build_object('execution_id', execution_id, 'action', request -> 'action') || answer;
END
$$;
COMMENT ON FUNCTION factory.api_approval(uuid, jsonb) IS
'POST /api/v1/approvals/ID: {action: approve or reject, comment, correct_result}';

CREATE OR REPLACE FUNCTION factory.api_bi_plan(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	asked text := coalesce(request ->> 'query_text', request ->> 'query', request ->> 'question');
BEGIN
	IF asked IS NULL OR btrim(asked) = '' THEN
		RAISE EXCEPTION 'the request has no question'
			USING ERRCODE = 'PF102', HINT = 'Give it as "query_text".';
	END IF;
	RETURN factory.plan(question => asked, context => request -> 'context');
END
$$;
COMMENT ON FUNCTION factory.api_bi_plan(jsonb) IS
'POST /api/v1/bi/plan: the plan and the SQL of {query_text, context}, not run';

-- Keys of machines.

CREATE OR REPLACE FUNCTION factory.create_api_key(name text, role regrole, claims jsonb DEFAULT '{}',
	expires_at timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	named pg_roles;
	key text := 'fk.' || factory.current_tenant() || '.'
		|| replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
BEGIN
	SELECT * INTO named FROM pg_roles AS r WHERE r.oid = role;
	IF named.rolsuper OR named.rolbypassrls THEN
		RAISE EXCEPTION 'role "%" is not for a key', named.rolname
			USING ERRCODE = 'invalid_parameter_value',
				DETAIL = 'It is a superuser or bypasses row security.',
				HINT = 'Make a NOLOGIN role with the rights that the machine needs.';
	END IF;
	IF NOT pg_has_role(factory.acting_role(), role, 'MEMBER') THEN
		RAISE EXCEPTION 'permission denied to make a key for role "%"', named.rolname
			USING ERRCODE = 'insufficient_privilege',
				HINT = 'Only a member of the role may hand it on.';
	END IF;
	INSERT INTO factory.api_key (name, key_hash, role, claims, created_by, expires_at)
	VALUES (create_api_key.name, encode(sha256(convert_to(key, 'UTF8')), 'hex'), named.rolname,
		coalesce(create_api_key.claims, '{}'), factory.acting_role(), create_api_key.expires_at);
	PERFORM factory.audit('create', 'api_key', create_api_key.name, NULL,
		jsonb_build_object('role', named.rolname, 'claims', create_api_key.claims, 'expires_at', create_api_key.expires_at));
	RETURN key;
EXCEPTION WHEN unique_violation THEN
	RAISE EXCEPTION 'key "%" already exists', name
		USING ERRCODE = 'duplicate_object', HINT = 'Names of revoked keys are not used again.';
END
$$;
COMMENT ON FUNCTION factory.create_api_key(text, regrole, jsonb, timestamptz) IS
'makes a key for a machine and returns it, this once; it acts as the role, with these claims';

CREATE OR REPLACE FUNCTION factory.revoke_api_key(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE factory.api_key AS k SET revoked_at = now()
	WHERE k.name = revoke_api_key.name AND k.revoked_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no key "%" is in force', name
			USING ERRCODE = 'undefined_object', HINT = 'Table factory.api_key lists the keys.';
	END IF;
	PERFORM factory.audit('revoke', 'api_key', revoke_api_key.name);
END
$$;
COMMENT ON FUNCTION factory.revoke_api_key(text) IS
'ends a key; factoryd may know it for half a minute longer';

-- Asked by factoryd's own user, who belongs to no tenant: it looks as the key's tenant.
CREATE OR REPLACE FUNCTION factory.api_key_claims(tenant text, key_hash text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before CONSTANT text := current_setting('factory.tenant');
	answer jsonb;
BEGIN
	PERFORM set_config('factory.tenant', tenant, true);
	SELECT k.claims || jsonb_build_object('role', k.role, 'api_key', k.name, 'tenant', k.tenant_id)
	INTO answer FROM factory.api_key AS k
	WHERE k.key_hash = api_key_claims.key_hash AND k.tenant_id = tenant AND k.revoked_at IS NULL
		AND (k.expires_at IS NULL OR k.expires_at > now());
	PERFORM set_config('factory.tenant', before, true);
	RETURN answer;
END
$$;
COMMENT ON FUNCTION factory.api_key_claims(text, text) IS
'whom a key with that hash speaks for, or NULL; for the role that factoryd connects as';

REVOKE ALL ON FUNCTION factory.api_judgment(uuid), factory.api_judgment_recent(int), factory.api_feedback(jsonb),
	factory.api_approval(uuid, jsonb), factory.api_bi_plan(jsonb), factory.create_api_key(text, regrole, jsonb, timestamptz),
	factory.revoke_api_key(text), factory.api_key_claims(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION factory.api_judgment(uuid), factory.api_judgment_recent(int), factory.api_feedback(jsonb),
	factory.api_approval(uuid, jsonb)
	TO factory_admin, factory_author, factory_operator;
GRANT EXECUTE ON FUNCTION factory.api_bi_plan(jsonb) TO factory_admin, factory_analyst;
GRANT EXECUTE ON FUNCTION factory.create_api_key(text, regrole, jsonb, timestamptz), factory.revoke_api_key(text)
	TO factory_admin;
