-- schema.sql: the plant's star schema; dimensions, then facts, in the current schema.
--
-- Every table but dim_date begins its key with the tenant.  Ratios are never stored
-- in facts: they are sums divided by sums, in the views.

CREATE TABLE dim_date (
	date         date PRIMARY KEY,
	year         int NOT NULL,
	quarter      int NOT NULL,
	month        int NOT NULL,
	week         int NOT NULL,
	day_of_year  int NOT NULL,
	day_of_month int NOT NULL,
	day_of_week  int NOT NULL CHECK (day_of_week BETWEEN 0 AND 6),
	day_name     text NOT NULL,
	is_weekend   bool NOT NULL,
	is_holiday   bool NOT NULL,
	holiday_name text
);
COMMENT ON TABLE dim_date IS 'calendar of 2020 to 2030 with Korea''s public holidays (without substitute days)';
COMMENT ON COLUMN dim_date.week IS 'ISO week';
COMMENT ON COLUMN dim_date.day_of_week IS '0 is Sunday';

CREATE TABLE dim_line (
	tenant_id         text NOT NULL DEFAULT factory.current_tenant(),
	line_code         text NOT NULL,
	name              text NOT NULL,
	category          text NOT NULL CHECK (category IN ('assembly', 'processing', 'packaging', 'inspection', 'warehouse')),
	capacity_per_hour int NOT NULL CHECK (capacity_per_hour > 0),
	timezone          text NOT NULL DEFAULT 'Asia/Seoul',
	plant_code        text NOT NULL,
	department        text,
	manager           text,
	attributes        jsonb NOT NULL DEFAULT '{}',
	is_active         bool NOT NULL DEFAULT true,
	PRIMARY KEY (tenant_id, line_code)
);
COMMENT ON TABLE dim_line IS 'production lines';
COMMENT ON COLUMN dim_line.capacity_per_hour IS 'units an hour, as planned';
COMMENT ON COLUMN dim_line.attributes IS 'shift_pattern, stations (parallel), target_oee, target_defect_rate';

CREATE TABLE dim_product (
	tenant_id             text NOT NULL DEFAULT factory.current_tenant(),
	product_code          text NOT NULL,
	name                  text NOT NULL,
	name_en               text,
	spec                  text,
	category              text,
	subcategory           text,
	unit                  text NOT NULL DEFAULT 'EA',
	standard_cost         numeric(12,2),
	target_cycle_time_sec numeric(10,2) NOT NULL CHECK (target_cycle_time_sec > 0),
	quality_standard      jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (tenant_id, product_code)
);
COMMENT ON TABLE dim_product IS 'what the plant makes';
COMMENT ON COLUMN dim_product.target_cycle_time_sec IS 'seconds a unit takes at one station';

CREATE TABLE dim_equipment (
	tenant_id              text NOT NULL DEFAULT factory.current_tenant(),
	equipment_code         text NOT NULL,
	line_code              text NOT NULL,
	name                   text NOT NULL,
	type                   text NOT NULL CHECK (type IN ('machine', 'robot', 'conveyor', 'inspection', 'utility')),
	vendor                 text,
	install_date           date,
	maintenance_cycle_days int,
	last_maintenance_date  date,
	next_maintenance_date  date,
	mtbf_hours             numeric(10,1),
	mttr_hours             numeric(10,1),
	PRIMARY KEY (tenant_id, equipment_code),
	FOREIGN KEY (tenant_id, line_code) REFERENCES dim_line
);
COMMENT ON TABLE dim_equipment IS 'machines, and the line each stands in';

CREATE TABLE dim_kpi (
	tenant_id          text NOT NULL DEFAULT factory.current_tenant(),
	kpi_code           text NOT NULL,
	name               text NOT NULL,
	category           text NOT NULL,
	unit               text NOT NULL,
	default_target     numeric NOT NULL,
	green_threshold    numeric,
	yellow_threshold   numeric,
	red_threshold      numeric,
	higher_is_better   bool NOT NULL,
	aggregation_method text NOT NULL,
	PRIMARY KEY (tenant_id, kpi_code)
);
COMMENT ON TABLE dim_kpi IS 'key figures with their targets';

CREATE TABLE dim_shift (
	tenant_id  text NOT NULL DEFAULT factory.current_tenant(),
	shift_code text NOT NULL,
	name       text NOT NULL,
	start_time time NOT NULL,
	end_time   time NOT NULL CHECK (end_time > start_time),
	PRIMARY KEY (tenant_id, shift_code)
);
COMMENT ON TABLE dim_shift IS 'shifts: from start_time up to, not including, end_time of the same calendar day';

CREATE TABLE fact_daily_production (
	tenant_id          text NOT NULL DEFAULT factory.current_tenant(),
	date               date NOT NULL,
	line_code          text NOT NULL,
	product_code       text NOT NULL,
	shift              text NOT NULL,
	total_qty          int NOT NULL CHECK (total_qty >= 0),
	good_qty           int NOT NULL CHECK (good_qty >= 0),
	defect_qty         int NOT NULL CHECK (defect_qty >= 0),
	rework_qty         int NOT NULL DEFAULT 0 CHECK (rework_qty >= 0),
	scrap_qty          int NOT NULL DEFAULT 0 CHECK (scrap_qty >= 0),
	cycle_time_avg     numeric(10,3),
	cycle_time_std     numeric(10,3),
	runtime_minutes    numeric(10,2) NOT NULL DEFAULT 0 CHECK (runtime_minutes >= 0),
	downtime_minutes   numeric(10,2) NOT NULL DEFAULT 0 CHECK (downtime_minutes >= 0),
	setup_time_minutes numeric(10,2) NOT NULL DEFAULT 0 CHECK (setup_time_minutes >= 0),
	planned_qty        int NOT NULL DEFAULT 0 CHECK (planned_qty >= 0),
	target_cycle_time  numeric(10,3) NOT NULL CHECK (target_cycle_time > 0),
	work_order_count   int NOT NULL DEFAULT 0,
	operator_count     int NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant_id, date, line_code, product_code, shift),
	CHECK (good_qty + defect_qty = total_qty),
	CHECK (rework_qty + scrap_qty <= defect_qty),
	FOREIGN KEY (tenant_id, line_code) REFERENCES dim_line,
	FOREIGN KEY (tenant_id, product_code) REFERENCES dim_product,
	FOREIGN KEY (tenant_id, shift) REFERENCES dim_shift
);
COMMENT ON TABLE fact_daily_production IS 'production of a day, line, product and shift';
COMMENT ON COLUMN fact_daily_production.date IS 'calendar day in the line''s time zone, also of the night shift';
COMMENT ON COLUMN fact_daily_production.target_cycle_time IS 'seconds a unit should take at the end of this line: the product''s target over the line''s stations';
COMMENT ON COLUMN fact_daily_production.setup_time_minutes IS 'part of downtime_minutes';
CREATE INDEX ON fact_daily_production (tenant_id, line_code, date);
CREATE INDEX ON fact_daily_production (tenant_id, product_code, date);

CREATE TABLE fact_daily_defect (
	tenant_id        text NOT NULL DEFAULT factory.current_tenant(),
	date             date NOT NULL,
	line_code        text NOT NULL,
	product_code     text NOT NULL,
	shift            text NOT NULL,
	defect_type      text NOT NULL,
	defect_qty       int NOT NULL CHECK (defect_qty >= 0),
	defect_cost      numeric(14,2) NOT NULL DEFAULT 0,
	root_cause       text,
	countermeasure   text,
	responsible_dept text,
	PRIMARY KEY (tenant_id, date, line_code, product_code, shift, defect_type),
	FOREIGN KEY (tenant_id, date, line_code, product_code, shift) REFERENCES fact_daily_production
);
COMMENT ON TABLE fact_daily_defect IS 'the defects of fact_daily_production by type; the types of a row there sum to its defect_qty';
CREATE INDEX ON fact_daily_defect (tenant_id, line_code, date);
CREATE INDEX ON fact_daily_defect (tenant_id, defect_type, date);

CREATE TABLE fact_hourly_production (
	tenant_id        text NOT NULL DEFAULT factory.current_tenant(),
	hour_timestamp   timestamptz NOT NULL,
	line_code        text NOT NULL,
	product_code     text NOT NULL,
	total_qty        int NOT NULL CHECK (total_qty >= 0),
	good_qty         int NOT NULL CHECK (good_qty >= 0),
	defect_qty       int NOT NULL CHECK (defect_qty >= 0),
	cycle_time_avg   numeric(10,3),
	runtime_minutes  numeric(10,2) NOT NULL DEFAULT 0 CHECK (runtime_minutes >= 0),
	downtime_minutes numeric(10,2) NOT NULL DEFAULT 0 CHECK (downtime_minutes >= 0),
	PRIMARY KEY (tenant_id, hour_timestamp, line_code, product_code),
	CHECK (good_qty + defect_qty = total_qty),
	FOREIGN KEY (tenant_id, line_code) REFERENCES dim_line,
	FOREIGN KEY (tenant_id, product_code) REFERENCES dim_product
);
COMMENT ON TABLE fact_hourly_production IS 'production of the hour that begins at hour_timestamp';
CREATE INDEX ON fact_hourly_production (tenant_id, line_code, hour_timestamp);

CREATE TABLE fact_inventory_snapshot (
	tenant_id        text NOT NULL DEFAULT factory.current_tenant(),
	date             date NOT NULL,
	product_code     text NOT NULL,
	location         text NOT NULL,
	stock_qty        int NOT NULL CHECK (stock_qty >= 0),
	safety_stock_qty int NOT NULL CHECK (safety_stock_qty >= 0),
	reserved_qty     int NOT NULL DEFAULT 0,
	available_qty    int NOT NULL DEFAULT 0,
	in_transit_qty   int NOT NULL DEFAULT 0,
	stock_value      numeric(16,2) NOT NULL DEFAULT 0,
	avg_daily_usage  numeric(12,2) NOT NULL DEFAULT 0,
	coverage_days    numeric(10,2),
	PRIMARY KEY (tenant_id, date, product_code, location),
	CHECK (available_qty = stock_qty - reserved_qty),
	FOREIGN KEY (tenant_id, product_code) REFERENCES dim_product
);
COMMENT ON TABLE fact_inventory_snapshot IS 'stock at the end of the day';
COMMENT ON COLUMN fact_inventory_snapshot.coverage_days IS 'available_qty over avg_daily_usage; NULL where nothing is used';
CREATE INDEX ON fact_inventory_snapshot (tenant_id, product_code, date);

CREATE TABLE fact_equipment_event (
	tenant_id              text NOT NULL DEFAULT factory.current_tenant(),
	date                   date NOT NULL,
	equipment_code         text NOT NULL,
	event_type             text NOT NULL CHECK (event_type IN ('alarm', 'breakdown', 'maintenance', 'setup', 'idle')),
	event_count            int NOT NULL CHECK (event_count > 0),
	total_duration_minutes numeric(10,2) NOT NULL DEFAULT 0,
	avg_duration_minutes   numeric(10,2) NOT NULL DEFAULT 0,
	max_duration_minutes   numeric(10,2) NOT NULL DEFAULT 0,
	severity_distribution  jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (tenant_id, date, equipment_code, event_type),
	FOREIGN KEY (tenant_id, equipment_code) REFERENCES dim_equipment
);
COMMENT ON TABLE fact_equipment_event IS 'what happened to a machine on a day, counted by type';
COMMENT ON COLUMN fact_equipment_event.severity_distribution IS 'events by severity: {"info": 2, "warning": 1}';
CREATE INDEX ON fact_equipment_event (tenant_id, equipment_code, date);
