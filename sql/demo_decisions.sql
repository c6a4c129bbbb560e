-- The demo's decisions: each is loaded as it stands, and judges its own examples.
\getenv root PG_ABS_SRCDIR
SET factory.frozen_clock = '2026-01-15 09:30:00+09';
\set ECHO none
CREATE TEMP TABLE document (name text, definition jsonb);
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/defect_rate.json"`
INSERT INTO document VALUES ('demo_defect_rate', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/defect_target.json"`
INSERT INTO document VALUES ('demo_defect_target', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/night_shift.json"`
INSERT INTO document VALUES ('demo_night_shift', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/material_lot.json"`
INSERT INTO document VALUES ('demo_material_lot', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/temperature.json"`
INSERT INTO document VALUES ('demo_temperature', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/pressure.json"`
INSERT INTO document VALUES ('demo_pressure', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/humidity.json"`
INSERT INTO document VALUES ('demo_humidity', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/machine_condition.json"`
INSERT INTO document VALUES ('demo_machine_condition', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/inventory.json"`
INSERT INTO document VALUES ('demo_inventory', :'content');
\set content `cat "$PG_ABS_SRCDIR/demo/decisions/wf-001.json"`
INSERT INTO document VALUES ('wf-001', :'content');
\set ECHO all
BEGIN;
SELECT count(factory.create_decision(name, definition)) AS created FROM document;
-- wf-001 is defect_rate by another name.
SELECT count(DISTINCT definition - 'description') AS same FROM document WHERE name IN ('demo_defect_rate', 'wf-001');
CREATE TEMP TABLE example (id serial, decision text, input jsonb);
INSERT INTO example (decision, input) VALUES
	-- 5 of 100 is 5 %, and 5 % is high: no integer division, no ">" at the boundary.
	('demo_defect_rate', '{"line_code": "LINE-A", "defect_count": 5, "production_count": 100}'),
	('demo_defect_rate', '{"line_code": "LINE-A", "defect_count": 49, "production_count": 1000}'),
	('demo_defect_rate', '{"line_code": "LINE-A", "defect_count": 2, "production_count": 100}'),
	('demo_defect_rate', '{"line_code": "LINE-A", "defect_count": 19, "production_count": 1000}'),
	('demo_defect_rate', '{"line_code": "LINE-A", "defect_count": 0, "production_count": 0}'),
	('demo_defect_target', '{"defect_rate": 0.08}'), ('demo_defect_target', '{"defect_rate": 0.07}'),
	('demo_defect_target', '{"defect_rate": 0.03, "target": 0.03}'), ('demo_defect_target', '{"defect_rate": 0.03, "target": 0}'),
	('demo_night_shift', '{"shift": "night", "defect_rate": 0.031}'), ('demo_night_shift', '{"shift": "day", "defect_rate": 0.031}'),
	('demo_material_lot', '{"material_lot": "L2401", "defect_rate": 0.026}'),
	('demo_material_lot', '{"material_lot": "L2301", "defect_rate": 0.026}'),
	('demo_temperature', '{"temperature": 85.3}'), ('demo_temperature', '{"temperature": 72.5}'), ('demo_temperature', '{"temperature": 70}'),
	('demo_pressure', '{"pressure": 1.9}'), ('demo_pressure', '{"pressure": 8}'), ('demo_pressure', '{"pressure": 8.1}'),
	('demo_humidity', '{"humidity": 29}'), ('demo_humidity', '{"humidity": 70}'),
	('demo_machine_condition', '{"temperature": 72.5, "vibration": 0.12}'),
	('demo_machine_condition', '{"temperature": 78.2, "vibration": 0.18}'),
	('demo_machine_condition', '{"temperature": 85.7, "vibration": 0.35}'),
	('demo_inventory', '{"stock_qty": 99, "safety_stock_qty": 100}'), ('demo_inventory', '{"stock_qty": 149, "safety_stock_qty": 100}'),
	('demo_inventory', '{"stock_qty": 300, "safety_stock_qty": 100}'), ('demo_inventory', '{"stock_qty": 301, "safety_stock_qty": 100}');
SELECT e.decision, j.result, j.status, j.severity, j.confidence AS conf, j.explanation ->> 'summary' AS why
FROM example AS e, factory.judge(e.decision, e.input, policy => 'RULE_ONLY') AS j ORDER BY e.id;
ROLLBACK;
