"""What statements in the log mean for tables: a grammar of MySQL's and MariaDB's DDL, and what it leaves of columns and rows."""
