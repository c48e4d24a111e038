"""Programs for those who work on the project; the Makefile runs them."""
