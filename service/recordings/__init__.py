"""Stores of recordings: files, S3, or nginx."""
