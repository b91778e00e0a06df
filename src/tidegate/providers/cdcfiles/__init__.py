"""Change records that other tools wrote into files, one JSON document a line: Debezium, Canal, Maxwell, Flink CDC.

``files`` finds the files and cuts them into lines, a module a format makes :class:`~tidegate.providers.cdcfiles.records.Record` of
a line, ``repeats`` tells which came before, ``chunks`` makes columns of the rest, ``source`` puts them together.
"""
