CREATE STREAM s (k TEXT NOT NULL, t TIMESTAMP NOT NULL, n BIGINT, x DOUBLE, d DECIMAL(10, 2), b BOOLEAN, EVENT TIME t, PARTITION KEY (k));
CREATE VIEW v AS SELECT k, min_by(k, x), arg_max(d, t), first_k(k, 3), last_k(n + 1, 1000), largest(x, 2), smallest(b, 1), skewness(n), kurtosis(d), covar_pop(x, n),
  covar_samp(n, d), corr(n, 2 * x), regr_slope(x, d), regr_intercept(x, 1), regr_r2(n, 3.5), every(n > 3), bool_or(b), bit_and(n), bit_or(n), bit_xor(n) FILTER (WHERE b),
  avg_weighted(x, n), ratio(n, d), rate(d), histogram(n, 0, 10, 2.0e1), histogram(x, -1, 0.1), histogram(d, 0, 2.5) FROM s GROUP BY k, TUMBLE(t, INTERVAL '1 hour');
