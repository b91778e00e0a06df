"""PostgreSQL as a target, and the base of the systems of its family."""
