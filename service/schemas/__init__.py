"""Resources: one schema class for each, and what is derived from it."""
