"""The protocol, as pure functions: query text to a selection, rows to bytes."""
