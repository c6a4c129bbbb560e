-- The extension is there, closed by default, and its clock can be held still.
SELECT extname, extversion FROM pg_extension WHERE extname = 'pg_factory';
SET factory.frozen_clock = '2026-01-15 09:00:00+09';
SELECT factory.clock_now() AT TIME ZONE 'Asia/Seoul' AS plant_time;
SET factory.frozen_clock = 'tomorrow, perhaps';
SET factory.no_such_setting = 1;
