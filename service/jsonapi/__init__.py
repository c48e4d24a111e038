"""JSON:API as pure functions: query strings to queries, rows to documents."""
