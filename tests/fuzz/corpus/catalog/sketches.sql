CREATE STREAM s (k TEXT NOT NULL, x DOUBLE, t TIMESTAMP NOT NULL, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW v AS SELECT quantiles(x) AS d, p99(x) AS p, quantile(x, 0.250) AS q, top_k(k, 10) AS top, theta(k) AS ks,
  bloom(k, 1000) AS seen, sample(x, 7) AS some, decayed_sum(x, INTERVAL '1 hour') AS s,
  decayed_count(k, INTERVAL '14 days') AS c, decayed_avg(x, INTERVAL '90 minutes') FILTER (WHERE x > 0) AS a
  FROM s GROUP BY TUMBLE(t, INTERVAL '1 day');
