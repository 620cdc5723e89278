SELECT k, window_start, window_end, n FROM z WHERE window_start >= '2024-03-09 12:34' AND (window_end < '2024-04-01' OR k = 'a') AND k > 'b' ORDER BY n DESC
