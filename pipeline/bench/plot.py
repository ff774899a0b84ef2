"""A sheet as a picture: a bar for each row, in frames a second, processor time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

from watchline.pipeline.bench.sheet import NETWORK, OURS, Row, Sheet

_PAPER, _INK, _QUIET, _RULE = "#ffffff", "#1f2328", "#656d76", "#e6e9ed"  # a card of its own on any page
_COLOURS: Final = {True: "#0b6bcb", False: "#d4650a"}  # ours, theirs
_LABELS_PX, _PANEL_PX, _GAP_PX, _BAR_PX, _STEP_PX = 150, 200, 70, 16, 20
_TOP_PX, _GROUP_GAP_PX, _BOTTOM_PX = 84, 12, 40


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    value: Callable[[Row], float]
    digits: int


_PANELS: Final = (
    _Panel("frames a second", lambda row: row.fps, 1),
    _Panel("CPU ms a frame", lambda row: row.cpu_ms, 1),
    _Panel("peak memory, MB", lambda row: row.peak_memory_bytes / 1e6, 0),
)


def draw(sheet: Sheet) -> str:
    """Returns an SVG; an equal sheet is an equal text."""
    places, bottom = _places(sheet.rows)
    width = _LABELS_PX + len(_PANELS) * (_PANEL_PX + _GAP_PX)
    height = bottom + _BOTTOM_PX
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="DejaVu Sans, Verdana, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        _text(16, 26, f"{sheet.model}, {sheet.size[0]}x{sheet.size[1]}, {sheet.device}", _INK, size=15, bold=True),
        *_legend(sheet),
        *(_text(16, top + 12, label, _INK) for label, top in _labels(sheet.rows, places)),
    ]
    for i, panel in enumerate(_PANELS):
        parts += _bars(panel, _LABELS_PX + i * (_PANEL_PX + _GAP_PX), sheet.rows, places)
    machine = f"{sheet.machine.cpu}, {sheet.threads} thread{'s' * (sheet.threads > 1)} a side; {sheet.pictures}"
    parts.append(_text(16, height - 14, machine, _QUIET, size=9))
    return "\n".join([*parts, "</svg>", ""])


def _places(rows: tuple[Row, ...]) -> tuple[list[int], int]:
    """Returns the top of each row's bar and the bottom of all; rows of one part and batch stand together."""
    places, top = [], _TOP_PX
    for i, row in enumerate(rows):
        if i and (row.part, row.batch) != (rows[i - 1].part, rows[i - 1].batch):
            top += _GROUP_GAP_PX
        places.append(top)
        top += _STEP_PX
    return places, top


def _labels(rows: tuple[Row, ...], places: list[int]) -> list[tuple[str, int]]:
    first: dict[str, int] = {}
    for row, top in zip(rows, places, strict=True):
        first.setdefault(f"{'network' if row.part == NETWORK else 'detector'}, batch {row.batch}", top)
    return list(first.items())


def _legend(sheet: Sheet) -> list[str]:
    parts, left = [], 16
    for side, runtime in dict.fromkeys((row.side, row.runtime) for row in sheet.rows):
        name = f"{side}, {runtime}"
        parts.append(f'<rect x="{left}" y="38" width="10" height="10" fill="{_COLOURS[side == OURS]}"/>')
        parts.append(_text(left + 15, 47, name, _QUIET))
        left += 35 + 7 * len(name)
    return parts


def _bars(panel: _Panel, left: int, rows: tuple[Row, ...], places: list[int]) -> list[str]:
    most = max(panel.value(row) for row in rows) or 1.0
    parts = [
        _text(left, _TOP_PX - 12, panel.title, _QUIET),
        f'<line x1="{left}" y1="{_TOP_PX - 4}" x2="{left}" y2="{places[-1] + _STEP_PX}" stroke="{_RULE}"/>',
    ]
    for row, top in zip(rows, places, strict=True):
        value = panel.value(row)
        length = _PANEL_PX * value / most
        colour = _COLOURS[row.side == OURS]
        parts.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{_BAR_PX}" fill="{colour}"/>')
        parts.append(_text(left + length + 5, top + 12, f"{value:.{panel.digits}f}" if value else "?", _INK))
    return parts


def _text(x: float, y: float, text: str, colour: str, size: int = 11, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}"{weight}>{escape(text)}</text>'
