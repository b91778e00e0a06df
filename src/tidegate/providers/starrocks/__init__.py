"""StarRocks as a target."""
