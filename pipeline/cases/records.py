"""Cases and templates to records of plain values, and back; a record that is none of ours is refused by its field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from watchline.pipeline.cases.case import MOST_CAMERAS, MOST_EXTENSIONS, Case, Extension, Scope
from watchline.pipeline.cases.template import Template, TemplateKind
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.streams.errors import CaseError, UsageError


def case_record(case: Case) -> dict[str, object]:
    """Returns a case as a record that JSON can hold."""
    return asdict(case)


def template_record(template: Template) -> dict[str, object]:
    """Returns a template as a record that JSON can hold."""
    return {
        **asdict(template),
        "kind": template.kind.value,
        "model": {**asdict(template.model), "kind": template.model.kind.value},
    }


def case_of(record: Mapping[str, object]) -> Case:
    """Returns the case that a record holds.

    Raises:
        CaseError: it holds none; names the field.
    """
    fields = _Fields("case", record)
    scope, extensions = _Fields("case.scope", fields.record("scope")), fields.records("extensions", MOST_EXTENSIONS)
    try:
        bounds = Scope(scope.texts("cameras"), scope.maybe("from_s"), scope.maybe("to_s"))
    except UsageError as error:
        raise CaseError(f"case.scope: {error}; the record is damaged, restore it from a backup") from error
    return Case(
        fields.text("id"),
        fields.text("purpose"),
        fields.text("authority"),
        fields.number("opened_s"),
        fields.number("expires_s"),
        bounds,
        tuple(Extension(each.number("at_s"), each.number("expires_s"), each.text("reason")) for each in extensions),
        fields.maybe("closed_s"),
        fields.text("closed_reason"),
    )


def template_of_record(record: Mapping[str, object]) -> Template:
    """Returns the template that a record holds.

    Raises:
        CaseError: it holds none; names the field.
    """
    fields = _Fields("template", record)
    model = _Fields("template.model", fields.record("model"))
    return Template(
        id=fields.text("id"),
        case=fields.text("case"),
        person=fields.text("person"),
        kind=TemplateKind(fields.one_of("kind", tuple(TemplateKind))),
        model=EmbeddingModel(
            model.text("name"),
            model.text("sha256"),
            Kind(model.one_of("kind", tuple(Kind))),
            model.count("dimension"),
        ),
        quality=fields.number("quality"),
        made_s=fields.number("made_s"),
        expires_s=fields.maybe("expires_s"),
        jpeg_sha256=fields.text("jpeg_sha256"),
        photo_sha256=fields.text("photo_sha256"),
    )


class _Fields:
    """The fields of a record, each of the kind that is expected of it."""

    def __init__(self, what: str, record: Mapping[str, object]) -> None:
        self._what = what
        self._record = record

    def text(self, name: str) -> str:
        value = self._record.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def number(self, name: str) -> float:
        value = self.maybe(name)
        if value is None:
            raise self._wrong(name, "a number")
        return value

    def maybe(self, name: str) -> float | None:
        value = self._record.get(name)
        if value is None:
            return None
        try:
            number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
        except OverflowError:  # JSON knows whole numbers beyond every float
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong(name, "a number")
        return number

    def count(self, name: str) -> int:
        value = self.number(name)
        if value < 1 or value != int(value):
            raise self._wrong(name, "a whole number from 1")
        return int(value)

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name, MOST_CAMERAS)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, "texts")
        return tuple(str(value) for value in values)

    def record(self, name: str) -> Mapping[str, object]:
        value = self._record.get(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a record")
        return value

    def records(self, name: str, most: int) -> list[_Fields]:
        values = self._list(name, most)
        found = [_Fields(f"{self._what}.{name}", value) for value in values if isinstance(value, Mapping)]
        if len(found) < len(values):
            raise self._wrong(name, "records")
        return found

    def one_of(self, name: str, known: Sequence[str]) -> str:
        value = self.text(name)
        if value not in known:
            raise self._wrong(name, f"one of {', '.join(known)}")
        return value

    def _list(self, name: str, most: int) -> Sequence[object]:
        values = self._record.get(name)
        if not isinstance(values, list | tuple) or len(values) > most:
            raise self._wrong(name, f"a list of {most} at most")
        return values

    def _wrong(self, name: str, want: str) -> CaseError:
        shown = repr(self._record.get(name))[:60]
        return CaseError(
            f"{self._what}.{name}: is {shown}, want {want}; the record is damaged, restore it from a backup"
        )
