"""What a test asks for that not every machine has; where it is required, its absence is a failure."""

from __future__ import annotations

import os

import pytest


def skip_or_fail(message: str) -> None:
    """Skips the test with `message`, or fails it where `WATCHLINE_REQUIRE_LIVE=1` says that this machine has it all."""
    if os.environ.get("WATCHLINE_REQUIRE_LIVE") == "1":
        pytest.fail(message)
    pytest.skip(message)
