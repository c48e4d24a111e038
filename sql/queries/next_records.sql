-- The next records of an export.
FETCH FORWARD %(count)s FROM export
