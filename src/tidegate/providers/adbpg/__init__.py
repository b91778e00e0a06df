"""AnalyticDB for PostgreSQL as a target."""
