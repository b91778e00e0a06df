"""Change files: a source's changes, captured as they are into a folder, and replayed from there.

::

    shop/                                  a stream: one folder, local or of any fsspec URL
      00000001.json                        the manifest of segment 1: the segment exists since this file does
      00000002.json
      data/shop.orders-4f1c….parquet       rows of one table, with their kinds in hidden columns
      leases/00000007.json                 who may capture into it

A manifest says which data files are the segment's, with their schema, rows by kind, size and checksum; where each table stood
before and stands after it, in the origin's own positions; and which manifest came before. It is created unless it exists, in one
step: that commits the rows and the ledger's entries together, and lets one of two writers win.
"""
