SELECT HOP(window_start, INTERVAL '2 hours', INTERVAL '1 day'), n FROM v WHERE window_end <= '2024-03-09 12:00' GROUP BY HOP(window_start, INTERVAL '2 hours', INTERVAL '1 day')
