CREATE STREAM flights (
  carrier    TEXT NOT NULL,
  origin     TEXT NOT NULL,
  dest       TEXT NOT NULL,
  tailnum    TEXT,
  dep_delay  DOUBLE CHECK (dep_delay BETWEEN -120 AND 2880),
  arr_delay  DOUBLE,
  distance   BIGINT,
  departed   TIMESTAMP NOT NULL,
  EVENT TIME departed,
  PARTITION KEY (carrier)
) WITH (history_retention = 'forever');
-- a comment
CREATE VIEW delay_by_carrier AS
  SELECT carrier, count(*) AS flights, sum(dep_delay), min(dep_delay) AS least, max(dep_delay) AS most, avg(dep_delay) AS mean_delay, stddev(dep_delay) AS sd,
    count(*) FILTER (WHERE dep_delay > 15) AS late, count(DISTINCT tailnum) AS planes, sum(distance * 2 + 1)
  FROM flights WHERE dep_delay IS NOT NULL /* x */
  GROUP BY carrier, TUMBLE(departed, INTERVAL '1 hour')
  WITH (keep = '2 years');
