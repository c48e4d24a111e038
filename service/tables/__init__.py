"""Lists as tables: CSV, NDJSON and Parquet."""
