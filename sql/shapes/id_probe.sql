-- The id of the first call from a moment on.
(SELECT id FROM {calls} WHERE ({where}) AND time_start >= '{moment}' ORDER BY time_start LIMIT 1)
