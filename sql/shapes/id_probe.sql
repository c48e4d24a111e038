-- The id of the first call at or after a time.
(SELECT id FROM {calls} WHERE ({where}) AND time_start >= '{moment}' ORDER BY time_start LIMIT 1)
