SELECT k, window_start, pace, p50(high) AS mid, top_k(busy, 1), lately FROM z WHERE window_end > '2024-03-09' AND k > 'b' ORDER BY pace / lately DESC LIMIT 5
