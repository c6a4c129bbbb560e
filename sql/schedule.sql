-- Schedules: cron and words, and when they are due.
\set VERBOSITY default
SET timezone = 'UTC';
SET factory.frozen_clock = '2026-01-15 09:00:00+09';

-- Words.
SELECT s AS schedule, factory.schedule_next(s) FROM unnest(ARRAY[
	'daily at 06:00', 'daily at 6:05:30', 'daily', 'hourly', 'weekly', 'every 15 minutes',
	'every 2 seconds', 'every second', 'every 6 hours', 'every minute', 'weekdays at 07:30',
	'weekends at 10:00', 'weekly on monday at 06:00', 'Weekly on SUN', '@monthly', '@yearly']) AS s;

-- Cron: lists, ranges, steps, names, seconds first, 7 is Sunday.
SELECT s AS schedule, factory.schedule_next(s, '2026-01-15 00:00+00', 'UTC') FROM unnest(ARRAY[
	'0 6 * * *', '*/15 * * * *', '10,40 8-10/2 * * *', '0 0 1 jan,JUL *', '0 0 * * 7',
	'0 0 * * sun', '0 12 * * mon-fri', '30 5 6 * * *', '*/10 * * * * *', '0 0 31 * *',
	'0 0 29 2 *', '0 0 29 feb mon']) AS s;

-- As in cron, days and weekdays are OR-ed where both are restricted, AND-ed where not.
SELECT factory.schedule_next('0 0 13 * fri', '2026-01-15', 'UTC', 4);
SELECT factory.schedule_next('0 0 */2 * fri', '2026-01-15', 'UTC', 4);

-- The last day of a month, its second Friday, its last Sunday.
SELECT factory.schedule_next('0 6 L * *', '2028-01-31 12:00+00', 'UTC', 3);
SELECT factory.schedule_next('0 6 15,L 2 *', '2027-01-31 12:00+00', 'UTC', 3);
SELECT factory.schedule_next('0 6 * * fri#2', '2026-01-15', 'UTC', 3);
SELECT factory.schedule_next('0 6 * * 7L,mon#5', '2026-01-15', 'UTC', 4);

-- The edges of the year and leap years.
SELECT factory.schedule_next('59 59 23 31 12 *', '2026-12-31 23:59:58+00', 'UTC', 2);
SELECT factory.schedule_next('0 0 29 2 *', '2096-02-29', 'UTC', 2);
SELECT factory.schedule_next('*/7 * * * *', '1969-12-31 23:59:59.5+00', 'UTC', 2);

-- "After" means later, to the microsecond.
SELECT factory.schedule_next('0 6 * * *', '2026-01-15 06:00:00+00', 'UTC');
SELECT factory.schedule_next('0 6 * * *', '2026-01-15 05:59:59.999999+00', 'UTC');

-- The zone is the argument's, else the plant's, else the session's.
SELECT factory.schedule_next('daily at 06:00', '2026-01-15 00:00+00', 'Asia/Seoul');
SET factory.timezone = 'Asia/Seoul';
SELECT factory.schedule_next('daily at 06:00', '2026-01-15 00:00+00');
RESET factory.timezone;

-- Berlin, 29 March 2026: 02:00 to 03:00 does not exist, and 02:30 runs at 03:00.
SET timezone = 'Europe/Berlin';
SELECT factory.schedule_next('30 2 * * *', '2026-03-28 00:00+01', 'Europe/Berlin', 3);
SELECT factory.schedule_next('0,15,30 2,3 * * *', '2026-03-29 01:00+01', 'Europe/Berlin', 4);
SELECT factory.schedule_next('30 * * * *', '2026-03-29 00:00+01', 'Europe/Berlin', 3);
SELECT factory.schedule_next('every 30 minutes', '2026-03-29 01:00+01', 'Europe/Berlin', 3);
-- 25 October 2026: 02:00 to 03:00 comes twice, and 02:30 runs the first time.
SELECT factory.schedule_next('30 2 * * *', '2026-10-24 12:00+02', 'Europe/Berlin', 3);
SELECT factory.schedule_next('30 2 * * *', '2026-10-25 02:15+01', 'Europe/Berlin');
SELECT factory.schedule_next('30 * * * *', '2026-10-25 01:00+02', 'Europe/Berlin', 4);
SELECT factory.schedule_next('every 6 hours', '2026-10-24 23:00+02', 'Europe/Berlin', 4);

SET timezone = 'America/New_York';
SELECT factory.schedule_next('30 2 * * *', '2026-03-07 12:00-05', 'America/New_York', 3);
SELECT factory.schedule_next('30 1 * * *', '2026-10-31 12:00-04', 'America/New_York', 3);

-- Lord Howe Island moves by half an hour.
SET timezone = 'Australia/Lord_Howe';
SELECT factory.schedule_next('15 2 * * *', '2026-10-03 12:00+10:30', 'Australia/Lord_Howe', 2);
SELECT factory.schedule_next('45 1 * * *', '2026-04-04 12:00+11', 'Australia/Lord_Howe', 2);
SELECT factory.schedule_next('*/15 * * * *', '2026-04-05 01:20+11', 'Australia/Lord_Howe', 5);

-- Korea has no such days; Samoa once lost one whole.
SET timezone = 'Asia/Seoul';
SELECT factory.schedule_next('0 6 * * *', '2026-03-28 12:00+09', 'Asia/Seoul', 3);
SET timezone = 'Pacific/Apia';
SELECT factory.schedule_next('0 6 * * *', '2011-12-28 12:00-10', 'Pacific/Apia', 4);

-- Two years of due times in a zone with jumps: none lost, none twice.
SET timezone = 'UTC';
WITH due AS (
	SELECT zone, at, lag(at) OVER (PARTITION BY zone ORDER BY at) AS before
	FROM unnest(ARRAY['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Seoul',
					  'America/Santiago', 'Africa/Cairo', 'Europe/Lisbon', 'America/St_Johns', 'Pacific/Auckland',
					  'Asia/Jerusalem', 'Pacific/Chatham', 'America/Havana']) AS zone,
		LATERAL factory.schedule_next('30 2 * * *', '2026-01-01 00:00+00', zone, 730) AS at)
SELECT zone, count(*), count(DISTINCT (at AT TIME ZONE zone)::date) AS days,
	min(at - before) >= '22:00' AND max(at - before) <= '26:00' AS steady
FROM due GROUP BY zone ORDER BY zone COLLATE "C";
SELECT count(DISTINCT at), max(at) FROM factory.schedule_next('30 * * * *', '2026-01-01', 'Europe/Berlin', 8760) AS at;

-- What cannot be read says where, and what would be right.
SELECT factory.schedule_next('daily at 25:00');
SELECT factory.schedule_next('daily at 06:60');
SELECT factory.schedule_next('daily at six');
SELECT factory.schedule_next('daily at');
SELECT factory.schedule_next('daily by 06:00');
SELECT factory.schedule_next('daily at 06:00 sharp');
SELECT factory.schedule_next('* * *');
SELECT factory.schedule_next('0 0 31 2 *');
SELECT factory.schedule_next('60 * * * *');
SELECT factory.schedule_next('0 6 * * funday');
SELECT factory.schedule_next('0 6 ? * *');
SELECT factory.schedule_next('5/15 * * * *');
SELECT factory.schedule_next('0 22-6 * * *');
SELECT factory.schedule_next('*/0 * * * *');
SELECT factory.schedule_next('0 6 1,,2 * *');
SELECT factory.schedule_next('0 6 1x * *');
SELECT factory.schedule_next('0 6 * * fri#6');
SELECT factory.schedule_next('0 L * * *');
SELECT factory.schedule_next('0 6 31 2,4 L');
SELECT factory.schedule_next('every 0 minutes');
SELECT factory.schedule_next('every 3 days');
SELECT factory.schedule_next('every 9999999 hours');
SELECT factory.schedule_next('weekly on someday');
SELECT factory.schedule_next('sometimes');
SELECT factory.schedule_next('');
SELECT factory.schedule_next(NULL);
SELECT factory.schedule_next(repeat('* ', 300));
SELECT factory.schedule_next('hourly', 'infinity');
SELECT factory.schedule_next('hourly', NULL, 'Mars/Olympus');
SELECT factory.schedule_next('hourly', NULL, NULL, -1);
