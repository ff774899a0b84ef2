"""Licences as model files state them, and as SPDX names them."""

from __future__ import annotations

from typing import Final

_SPDX: Final = (
    ("AGPL-3.0", "AGPL-3.0-only"),
    ("GPL-3.0", "GPL-3.0-only"),
    ("Apache-2.0", "Apache-2.0"),
    ("MIT", "MIT"),
)


def spdx(stated: object) -> str:
    """Returns the SPDX name of a licence by how its statement begins, "" where it is none that is known.

    >>> spdx("AGPL-3.0 License (https://ultralytics.com/license)")
    'AGPL-3.0-only'
    """
    text = stated if isinstance(stated, str) else ""
    return next((name for start, name in _SPDX if text.startswith(start)), "")
