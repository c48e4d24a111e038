"""What is served: one schema class a resource, and what is derived from it."""
