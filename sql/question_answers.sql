-- What an answer carries besides its rows, and what a catalogue can be asked.
\set VERBOSITY default
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
SET factory.frozen_clock = '2026-01-15 09:30:00+09';
SET TimeZone = 'Asia/Seoul';
CREATE SCHEMA packing;
SET search_path = packing;
SET factory.reader_search_path = 'packing';

CREATE TABLE station (code text PRIMARY KEY, hall text);
INSERT INTO station VALUES ('ST-1', 'north'), ('ST-2', 'north'), ('ST-3', 'south');
CREATE TABLE boxes (day date, station text, packed int, torn int, stock int);
-- Ten days; station 1 packs 100 a day, station 2 packs 200, station 3 packs 300; ST-4 is in no hall.
INSERT INTO boxes
SELECT date '2026-01-06' + d, 'ST-' || s, s * 100, s + d, s * 10 + d
FROM generate_series(0, 9) AS d, generate_series(1, 4) AS s;
COMMENT ON COLUMN boxes.packed IS 'Packed boxes';
GRANT USAGE ON SCHEMA packing TO factory_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA packing TO factory_reader;

SELECT $document${"domain": "packing", "timezone": "Asia/Seoul", "defaults": {"period": "last_7_days"},
 "datasets": {"boxes_day": {"relation": "boxes", "grain": "day", "time": "day", "dimensions": ["station", "hall"]}},
 "joins": {"station": {"relation": "station", "on": "station", "key": "code", "cardinality": "many_to_one"}},
 "metrics": {
  "packed": {"label": {"ko": "포장량", "en": "Packed"}, "unit": "EA", "sql": "sum(packed)", "datasets": ["boxes_day"], "good": "up"},
  "torn": {"label": {"ko": "파손", "en": "Torn"}, "unit": "EA", "sql": "sum(torn)", "datasets": ["boxes_day"], "good": "down"},
  "torn_rate": {"label": {"ko": "파손률", "en": "Torn rate"}, "format": "percent", "additivity": "ratio", "good": "down",
   "sql": "round(sum(torn)::numeric / nullif(sum(packed), 0), 4)", "datasets": ["boxes_day"]},
  "stock": {"label": {"ko": "재고", "en": "Stock"}, "additivity": "last", "sql": "sum(stock)", "datasets": ["boxes_day"]}},
 "dimensions": {
  "station": {"column": "station", "label": {"ko": "스테이션", "en": "Station"}, "values_query": "SELECT DISTINCT station FROM boxes"},
  "hall": {"column": "hall", "join": "station", "label": {"ko": "동", "en": "Hall"}, "values_query": "SELECT DISTINCT hall FROM station"}}}$document$ AS document \gset
SELECT factory.load_catalog(:'document'::jsonb);

-- A sentence from the numbers.
SELECT factory.ask('어제 ST-1 포장량', narrate => true) ->> 'narration';
SELECT factory.ask('packed by ST-1 yesterday', narrate => true) ->> 'narration';
SELECT factory.ask('어제 스테이션별 포장량', narrate => true) ->> 'narration';
SELECT factory.ask('packed by station yesterday', narrate => true) ->> 'narration';
SELECT factory.ask('어제 포장량 상위 2개 스테이션', narrate => true) ->> 'narration';
SELECT factory.ask('어제 파손률 전일 대비', narrate => true) ->> 'narration';
SELECT factory.ask('torn rate yesterday vs the day before yesterday', narrate => true) ->> 'narration';
SELECT factory.ask('2024년 3월 포장량', narrate => true) ->> 'narration';

-- As a file; what looks like a formula is none.
SELECT factory.ask_csv('어제 스테이션별 포장량과 파손률');
INSERT INTO boxes VALUES ('2026-01-14', '=1+1', 1, 0, 0), ('2026-01-14', 'say "hi", you', 2, 0, 0);
SELECT factory.ask_csv('packed by station yesterday');
DELETE FROM boxes WHERE station NOT LIKE 'ST-%';
SELECT factory.ask_csv('포장량');

-- What to mind.
SELECT factory.ask('오늘 포장량') -> 'warnings';
SELECT factory.ask('packed today') -> 'warnings';
SELECT factory.ask('2031년 3월 포장량') -> 'warnings';
SELECT factory.ask('이번 주와 지난주 포장량 비교') -> 'warnings';
-- A join loses no row, and says which have no partner.
SELECT factory.ask('어제 동별 포장량') -> 'rows', factory.ask('어제 동별 포장량') -> 'warnings';
-- It doubles none either.
INSERT INTO station VALUES ('ST-4', 'south');
ALTER TABLE station DROP CONSTRAINT station_pkey;
INSERT INTO station VALUES ('ST-1', 'south');
SELECT factory.ask('어제 동별 포장량', skip_cache => true);
SELECT * FROM factory.check_catalog(:'document'::jsonb);
DELETE FROM station WHERE code = 'ST-1' AND hall = 'south';

-- Ties are named, ranks are within what was said before them.
UPDATE boxes SET packed = 300 WHERE station = 'ST-4';
SELECT factory.ask('어제 포장량 1위 스테이션', skip_cache => true) -> 'rows', factory.ask('어제 포장량 1위 스테이션') -> 'warnings';
UPDATE boxes SET packed = 400 WHERE station = 'ST-4';

-- The same answer again, until the data is reported new, or the statement's own TTL ends.
SELECT factory.ask('그저께 포장량') ->> 'from_cache';
SELECT a ->> 'from_cache', a ->> 'source' FROM factory.ask('그저께 포장량') AS a;
SELECT factory.ask('packed the day before yesterday') ->> 'from_cache' AS same_statement;
SELECT factory.ask('그저께 포장량', skip_cache => true) ->> 'from_cache';
SELECT factory.etl_done('boxes_day');
SELECT factory.ask('그저께 포장량') ->> 'from_cache', factory.ask('그저께 포장량') #>> '{freshness,etl_done_at}';
SET factory.frozen_clock = '2026-01-15 09:39:00+09';
SELECT factory.ask('그저께 포장량') ->> 'from_cache' AS nine_minutes_later;
SET factory.frozen_clock = '2026-01-15 09:41:00+09';
SELECT factory.ask('그저께 포장량') ->> 'from_cache' AS eleven_minutes_later;
SET factory.question_cache_ttl = 0;
SELECT factory.ask('그저께 포장량') ->> 'from_cache' AS without_cache;
RESET factory.question_cache_ttl;
BEGIN READ ONLY;
SELECT factory.ask('그저께 스테이션별 포장량') ->> 'from_cache' AS read_only;
COMMIT;
-- Rows of an old snapshot are nobody else's, and others' are none of its.
SELECT factory.ask('그저께 스테이션별 포장량') ->> 'from_cache', factory.ask('그저께 스테이션별 포장량') ->> 'from_cache';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT factory.ask('그저께 스테이션별 포장량') ->> 'from_cache' AS old_snapshot;
ROLLBACK;
SELECT factory.ask('그저께 스테이션별 포장량') ->> 'from_cache' AS again;
SELECT factory.etl_done('nothing');
SET factory.frozen_clock = '2026-01-15 09:30:00+09';

-- A view that was filled before the period ended is not read for it.
CREATE MATERIALIZED VIEW boxes_view AS SELECT * FROM boxes;
GRANT SELECT ON boxes_view TO factory_reader;
SELECT factory.load_catalog(jsonb_set(jsonb_set(:'document'::jsonb, '{datasets,boxes_view}',
	'{"relation": "boxes_view", "grain": "day", "time": "day", "dimensions": ["station"]}'),
	'{metrics,packed,datasets}', '["boxes_day", "boxes_view"]'));
SELECT factory.ask('어제 포장량') ->> 'dataset' AS not_known_when;
INSERT INTO factory.refresh_run (view_oid, view, started_at, finished_at, status, reason)
VALUES ('boxes_view'::regclass, 'packing.boxes_view', '2026-01-14 06:00+09', '2026-01-14 06:00+09', 'succeeded', 'test');
SELECT factory.ask('어제 포장량') ->> 'dataset' AS filled_yesterday_morning, factory.ask('그저께 포장량') ->> 'dataset' AS for_the_day_before;
INSERT INTO factory.refresh_run (view_oid, view, started_at, finished_at, status, reason)
VALUES ('boxes_view'::regclass, 'packing.boxes_view', '2026-01-15 06:00+09', '2026-01-15 06:00+09', 'succeeded', 'test');
SELECT factory.ask('어제 포장량') ->> 'dataset' AS filled_this_morning, factory.ask('어제 포장량') #>> '{freshness,refreshed_at}';
INSERT INTO factory.refresh_schedule (view, view_name, schedule, timezone, next_due)
VALUES ('boxes_view', 'packing.boxes_view', 'daily at 06:00', 'Asia/Seoul', '2026-01-15 09:00+09');
SELECT factory.ask('어제 포장량') -> 'warnings', factory.ask('어제 포장량') #> '{freshness,stale}';
DELETE FROM factory.refresh_schedule;
DELETE FROM factory.refresh_run;

-- Questions that a person has checked, also with parameters.
SELECT factory.verify_question('가장 바쁜 곳은?', means => '어제 포장량이 가장 많은 스테이션');
SELECT factory.ask('가장 바쁜 곳은?') -> 'rows', factory.ask('가장 바쁜 곳은', skip_cache => true) ->> 'source';
SELECT factory.verify_question('{station} {period} 상태', sql => 'SELECT max(packed) AS best FROM boxes WHERE station = {station} AND day >= {from} AND day < {until}');
SELECT a ->> 'sql', a -> 'rows', a #>> '{period,from}' FROM factory.ask('ST-3 지난주 상태') AS a;
SELECT factory.ask('ST-9 지난주 상태') #>> '{clarification,question}';
SELECT factory.verify_question('x', sql => 'DELETE FROM boxes');
SELECT factory.verify_question('x', means => '날씨');
SELECT factory.verify_question('x');
SELECT question, sql IS NOT NULL AS by_sql FROM factory.verified_question ORDER BY 1;

-- What one may not see is not there: neither asked, nor described, nor read by hand.
CREATE ROLE regress_viewer;
GRANT factory_analyst TO regress_viewer;
CREATE ROLE regress_finance;
SELECT factory.load_catalog(jsonb_set(:'document'::jsonb, '{metrics,torn_rate,roles}', '["regress_finance"]'));
SET ROLE regress_viewer;
SELECT factory.ask('어제 파손률') #>> '{clarification,question}';
SELECT jsonb_path_query_array(factory.describe_catalog('ko'), '$.metrics[*].label');
RESET ROLE;
GRANT regress_finance TO regress_viewer;
SET ROLE regress_viewer;
SELECT factory.ask('어제 파손률') -> 'rows';
SELECT jsonb_path_query_array(factory.describe_catalog('en'), '$.metrics[*].label');
SELECT factory.describe_catalog('fr');
SELECT factory.verify_question('x', means => '어제 포장량');
SELECT factory.etl_done('boxes_day');
RESET ROLE;
DROP ROLE regress_viewer, regress_finance;

-- What is wrong with a catalogue, before it is loaded.
SELECT * FROM factory.check_catalog('{"domain": "x", "datasets": {}}');
SELECT * FROM factory.check_catalog(jsonb_set(jsonb_set(jsonb_set(:'document'::jsonb,
	'{metrics,torn,synonyms}', '["파손률"]'),
	'{metrics,packed,sql}', '"avg(packed)"'),
	'{dimensions,station,synonyms}', '["비교"]')) ORDER BY message;
SELECT * FROM factory.check_catalog(jsonb_set(:'document'::jsonb, '{dimensions,station,parent}', '"halls"'));
SELECT * FROM factory.check_catalog(jsonb_set(jsonb_set(:'document'::jsonb, '{dimensions,station,parent}', '"hall"'), '{dimensions,hall,parent}', '"station"'));
DELETE FROM station WHERE code = 'ST-4';
SELECT * FROM factory.check_catalog(:'document'::jsonb);

-- A draft from the tables; it loads as it is.
ALTER TABLE station ADD PRIMARY KEY (code);
DELETE FROM boxes WHERE station = 'ST-4';
ALTER TABLE boxes ADD FOREIGN KEY (station) REFERENCES station;
ANALYZE boxes;
SELECT jsonb_pretty(factory.suggest_catalog('packing') -> 'metrics' -> 'packed');
SELECT jsonb_object_keys(factory.suggest_catalog('packing') -> 'datasets'), factory.suggest_catalog('packing') #> '{joins,station}';
SELECT factory.load_catalog(factory.suggest_catalog('packing'));
SELECT factory.ask('Packed boxes by station yesterday', skip_cache => true) -> 'rows';
-- Loads are versions, and told.
SELECT domain, max(version) FROM factory.catalog GROUP BY 1;
SELECT DISTINCT action, object_type FROM factory.audit_log WHERE object = 'packing' OR object = '가장 바쁜 곳은?' ORDER BY 1;

TRUNCATE factory.catalog, factory.verified_question, factory.answer_cache, factory.dataset_status;
DROP SCHEMA packing CASCADE;
