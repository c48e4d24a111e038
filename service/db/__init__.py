"""PostgreSQL: statements, connections and what the service knows of its databases."""
