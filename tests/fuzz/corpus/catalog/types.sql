create stream "Odd ""Name" (event TEXT not null check (event <> 'it''s' or event in ('a', 'b')), time TIMESTAMP NOT NULL, n BIGINT, x DOUBLE PRECISION,
  d DECIMAL(10, 2) CHECK (d * 2.50 < 5. AND NOT d = -.5), b BOOLEAN, EVENT TIME time, PARTITION KEY (event, time)) WITH ('max_past' = '90 minutes', max_future = '1 hour', history_retention = '3 years');
CREATE VIEW v AS SELECT event AS e, sum((n - 1) % 7 / 2) FILTER (WHERE b IS NOT NULL) AS a, count(DISTINCT d), first(abs(x)), last(coalesce(x, nullif(n, 1e0), 3)), stddev(-n)
FROM "Odd ""Name" WHERE time NOT BETWEEN '2013-01-01' AND TIMESTAMP '2014-01-01 12:00' AND n NOT IN (1, NULL, -3) OR TRUE /* c */ -- d
GROUP BY event, TUMBLE(time, INTERVAL '36 hours') WITH (keep = '1 year');
