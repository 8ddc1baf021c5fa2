CREATE INDEX IF NOT EXISTS by_sensor ON readings (sensor, time_ms);
