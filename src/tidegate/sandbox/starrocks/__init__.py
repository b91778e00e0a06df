"""A stand-in for StarRocks: a frontend with its MySQL and HTTP ports, a backend with its HTTP port, tables in DuckDB.

DuckDB rather than SQLite: it has 128-bit integers, exact decimals, arrays, maps, structs and JSON, it converts and folds whole
columns, and readers see a snapshot while a load is published. SQLite would be in Python already, but knows none of these types, so
that every conversion and every distinct count would be a loop over rows.
"""
