"""What a check of a machine or of a site finds: how a thing is, and what mends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what mends it.

    Attributes:
        name: the thing.
        health: how it is.
        found: what was found.
        mend: what to do; "" where all is well.
    """

    name: str
    health: Health
    found: str
    mend: str = ""


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """Returns what `check` found; that it broke is a finding too, and must not hide the others."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001  # told as the check's own failure
        return Check(name, Health.FAIL, f"{type(error).__name__}: {error}", "see what the message names")
