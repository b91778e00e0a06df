"""What moves: canonical types, table schemas, positions, change batches and their net effect. Knows no system."""
