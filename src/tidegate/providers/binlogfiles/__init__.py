"""Binlog files on disk, as a source: a backup or an archive of what a server wrote, plain, gz or zst. No server is asked.

The events are those that the server would send, and go through the same reader. What a server is asked for otherwise has to come
from the files: the tables' columns (row metadata, or given CREATE TABLE statements), where the log ends, what characters mean.
"""
