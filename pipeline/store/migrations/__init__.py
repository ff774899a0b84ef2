"""Steps from one schema of a store to the next, run by Alembic; see `pipeline.store.upgrading`.

A step adds tables, columns and indexes. It never rebuilds `sighting`, `crop` or `vector`: that takes minutes in a
large store, and as much room again as it has.
"""
