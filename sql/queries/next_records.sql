-- The next records of a cursor.
FETCH FORWARD %(count)s FROM records
