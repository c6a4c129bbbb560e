-- decision.sql: puts one document into force, as a first or a next version; nothing
-- where it is in force already.  psql -v name=... -v definition=... -f demo/decision.sql
SELECT EXISTS (SELECT FROM factory.decision WHERE name = :'name') AS known,
	   EXISTS (SELECT FROM factory.decision_version AS v
			   JOIN factory.deployment AS d USING (tenant_id, decision, version)
			   WHERE v.decision = :'name' AND d.status = 'active' AND v.definition = :'definition'::jsonb) AS in_force \gset
\if :in_force
\elif :known
SELECT factory.save_version(:'name', :'definition', 'scripts/demo') AS version \gset
SELECT factory.deploy(:'name', :version, changelog => 'scripts/demo');
\else
SELECT factory.create_decision(:'name', :'definition', :'definition'::jsonb ->> 'description');
\endif
