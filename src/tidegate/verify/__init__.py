"""Whether two tables hold the same rows."""
