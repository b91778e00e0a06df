"""The binlog: from the server's replication stream to change batches."""
