-- schedule.sql: when the plant's views are refreshed, Korean time.
SELECT factory.schedule_refresh('mv_inventory_coverage_daily', '0 4 * * *', timezone => 'Asia/Seoul');
SELECT factory.schedule_refresh('mv_oee_daily', '0 6 * * *', timezone => 'Asia/Seoul');
SELECT factory.schedule_refresh('mv_line_performance_daily', '5 6 * * *', timezone => 'Asia/Seoul');
SELECT factory.schedule_refresh('mv_defect_trend_hourly', '0 * * * *', timezone => 'Asia/Seoul');
