-- The next batch of an export.
FETCH FORWARD %(count)s FROM export
