"""The options that audited commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--site-key",
        metavar="FILE",
        envvar="WATCHLINE_SITE_KEY",
        help="The site's private key; made at first use.",
        show_default="a file in this user's data folder",
    ),
]
OperatorOption = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="NAME",
        envvar="WATCHLINE_OPERATOR",
        help="Who does this, for the audit log; the account is noted, too.",
        show_default="the account",
    ),
]
PublicKeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="PUB", help="The site's public key, as `watchline export key` prints it."),
]


def operator(name: str) -> str:
    """Returns who does something: as they name themselves, or the account.

    Raises:
        UsageError: that is no name for a log.
    """
    from watchline.pipeline.audit.log import account
    from watchline.pipeline.audit.record import is_label
    from watchline.streams.errors import UsageError

    who = name.strip() or account()
    if not is_label(who):
        raise UsageError(f"--by {who!r}: want at most 128 characters that can be printed")
    return who
