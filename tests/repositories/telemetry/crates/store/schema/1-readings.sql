CREATE TABLE IF NOT EXISTS readings (sensor TEXT, unit TEXT, value REAL, time_ms INTEGER);
