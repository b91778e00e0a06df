"""A stand-in for StarRocks: a frontend with its MySQL and HTTP ports, a backend with its HTTP port, tables in DuckDB."""
