-- views_due.sql: all four views at once, so that one need not wait for six o'clock.
SELECT factory.schedule_refresh(view::regclass, 'every 1 second')
FROM unnest(ARRAY['mv_oee_daily', 'mv_defect_trend_hourly', 'mv_line_performance_daily', 'mv_inventory_coverage_daily']) AS view;
