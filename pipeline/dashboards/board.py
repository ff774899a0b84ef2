"""Dashboards as plain records, and the JSON that Grafana reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["timeseries", "stat", "table", "heatmap", "state-timeline"]

_COLUMNS: Final = 24  # of Grafana's grid
_SCHEMA: Final = 39  # of Grafana 10; later ones read it
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLOURS: Final = ("green", "orange", "red")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL; Grafana fills in `$instance`, `$camera`, `$model` and `$__rate_interval`.
        legend: name of each line, with `{{label}}`.
    """

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a dashboard.

    Attributes:
        title: a few words.
        about: what it says, and what to do when it looks bad.
        queries: what it shows.
        kind: how.
        unit: Grafana's name of it: "s", "bytes", "percentunit", "short".
        width: in columns of 24.
        height: in rows.
        limits: values from which on it is orange and red.
        stacked: lines lie upon each other.
        states: word and colour of the values 0, 1, 2, ...
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    limits: tuple[float, ...] = ()
    stacked: bool = False
    states: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: all values of a label.

    Attributes:
        name: as queries write it, without the dollar.
        metric: whose label of that name it is.
        many: several may be chosen; all are at first.
    """

    name: str
    metric: str
    many: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        uid: by which links find it.
        title: what stands above it.
        variables: its choices.
        rows: headings, each with its panels.
    """

    uid: str
    title: str
    variables: tuple[Variable, ...]
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    def panels(self) -> Iterator[Panel]:
        """Yields all panels."""
        for _, panels in self.rows:
            yield from panels


def grafana(board: Board) -> dict[str, Any]:
    """Returns what Grafana reads."""
    return {
        "uid": board.uid,
        "title": board.title,
        "tags": ["watchline"],
        "editable": True,
        "schemaVersion": _SCHEMA,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "graphTooltip": 1,  # one cross-hair over all panels
        "links": [{"type": "dashboards", "tags": ["watchline"], "title": "watchline", "keepTime": True}],
        "templating": {"list": [_data_source(), *(_variable(variable) for variable in board.variables)]},
        "annotations": {"list": []},
        "panels": list(_placed(board)),
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    # Each choice offers what is left by the one before: cameras of the chosen instances only.
    within = "" if variable.name == "instance" else '{instance=~"$instance"}'
    return {
        "name": variable.name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({variable.metric}{within}, {variable.name})", "refId": variable.name},
        "refresh": 2,  # whenever the time range changes
        "sort": 7,  # natural order
        "multi": variable.many,
        "includeAll": variable.many,
        "allValue": ".*" if variable.many else None,
        "current": {"text": "All", "value": "$__all"} if variable.many else {},
    }


def _placed(board: Board) -> Iterator[dict[str, Any]]:
    """Yields rows and panels, from left to right and top to bottom."""
    number, top = 1, 0
    for title, panels in board.rows:
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        number, top, left, tallest = number + 1, top + 1, 0, 0
        for panel in panels:
            if left + panel.width > _COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            number, left, tallest = number + 1, left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, "ABCDEFGH"[index]) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "transformations": [{"id": "merge", "options": {}}] if panel.kind == "table" else [],
    }


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    once = panel.kind in ("stat", "table")
    forms = {"table": "table", "heatmap": "heatmap"}
    return {
        "refId": letter,
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": once,
        "range": not once,
        "format": forms.get(panel.kind, "time_series"),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": _COLOURS[0], "value": None}]
    for colour, limit in zip(_COLOURS[3 - len(panel.limits) :], panel.limits, strict=True):
        steps.append({"color": colour, "value": limit})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if panel.kind in ("stat", "state-timeline") else "palette-classic"},
    }
    if panel.states:
        words = {
            str(value): {"text": text, "color": colour, "index": value}
            for value, (text, colour) in enumerate(panel.states)
        }
        defaults["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"}
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": panel.unit}}
    return {}
