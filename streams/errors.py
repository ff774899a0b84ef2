"""Every error that watchline raises on purpose, as one tree.

    WatchlineError           something a user can act on; the message names the thing, the value and the next step
    ├── UsageError           a request that makes no sense as asked: an option, a name, an output folder in the way
    ├── StreamError          an input cannot be opened or read at all
    ├── ModelError           a model file cannot be found, trusted, imported or run
    ├── CaseError            a search that its case does not allow: none, over, closed, or beyond its scope
    └── OutputError          a result cannot be written: permissions, a full disk

The command line prints the message as one line, without a traceback, and exits with `exit_code`.
"""

from __future__ import annotations


class WatchlineError(Exception):
    """Something went wrong that a user can act on."""

    exit_code = 1


class UsageError(WatchlineError):
    """A request that makes no sense as asked."""

    exit_code = 2


class StreamError(WatchlineError):
    """An input cannot be opened or read at all."""


class ModelError(WatchlineError):
    """A model file cannot be found, trusted, imported or run."""


class CaseError(WatchlineError):
    """A search that its case does not allow."""


class OutputError(WatchlineError):
    """A result cannot be written."""
