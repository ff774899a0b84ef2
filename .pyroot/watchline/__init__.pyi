"""What the build writes into `watchline/__init__.py`; here for type checkers alone."""

__version__: str
