"""What is wrong with a site's file: one line a problem, and never a value that may hold a secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from watchline.streams.errors import UsageError

Path: TypeAlias = tuple[str | int, ...]

MOST_SHOWN = 20
_MOST_PARTS = 8
_PLAIN_KEY = re.compile(r"[0-9A-Za-z_.-]{1,80}")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: where.
        path: which key, as "cameras[1].fps"; empty for the whole file.
        message: what is wrong, and what to do; may be empty beyond the `MOST_SHOWN` that are shown.
    """

    place: Place
    path: str
    message: str


class SiteError(UsageError):
    """A site's file that cannot be used; says all that is wrong with it.

    Attributes:
        problems: in the order of the file.
    """

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        """Args: name is the file's, for each line; problems are one or more."""
        self.problems = tuple(sorted(problems, key=lambda problem: problem.place))
        lines = [f"{name}:{_line(problem)}" for problem in self.problems[:MOST_SHOWN]]
        if len(self.problems) > MOST_SHOWN:
            lines.append(f"{name}: and {len(self.problems) - MOST_SHOWN} more")
        super().__init__("\n".join(lines))


def _line(problem: Problem) -> str:
    where = f"{problem.path}: " if problem.path else ""
    return f"{problem.place.line}:{problem.place.column}: {where}{problem.message}"


def written(path: Path) -> str:
    """Returns a path as people write it; a key that is no plain name may be a slipped address and is not shown.

    >>> written(("cameras", 1, "fps")), written(("rtsp://admin:secret@cam",))
    ('cameras[1].fps', '(an unusual key)')
    """
    text = ""
    for part in path[:_MOST_PARTS]:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f"{'.' if text else ''}{part if _PLAIN_KEY.fullmatch(part) else '(an unusual key)'}"
    return f"{text}..." if len(path) > _MOST_PARTS else text
