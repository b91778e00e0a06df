"""Where: the systems, a folder each, with the same file names in each. A provider here is one system."""
