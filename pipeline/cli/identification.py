"""How `watchline reid identify` comes to its answers, and where they go."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from watchline.pipeline.cli.extraction import Extraction, Means, say
from watchline.pipeline.cli.progress import count_progress
from watchline.pipeline.files import write_whole
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.pipeline.contact_sheet import Sheet
    from watchline.pipeline.identifying import Ranking, Subjects
    from watchline.reid.features import FeatureSet

_STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked.

    Attributes:
        gallery: features (.npz), or what they can be extracted from.
        query: likewise.
        top: answers a query.
        means: by which features are extracted.
    """

    gallery: str
    query: str
    top: int
    means: Means


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the answers go.

    Attributes:
        json: a file, "-" for standard output, or "".
        csv: likewise.
        html: a page; None for none.
        pictures: folders whose pictures may be in the page, beside those that are asked for and searched themselves.
    """

    json: str
    csv: str
    html: Path | None
    pictures: tuple[Path, ...] = ()


def answer(question: Question, outputs: Outputs) -> bool:
    """Answers, and returns whether all that was named could be read.

    Raises:
        WatchlineError: one line that says why there is no answer.
    """
    from watchline.pipeline.identifying import rank, ranking_record, subjects_of

    known, asked, is_whole = _features(question)
    gallery, query = subjects_of(known, question.gallery), subjects_of(asked, question.query)
    rankings = rank(gallery, query, question.top)
    records = [ranking_record(gallery, query, ranking) for ranking in rankings]
    if outputs.html:
        sides = (gallery, question.gallery), (query, question.query)
        _write_sheet(outputs.html, sides, outputs.pictures, rankings, quiet=question.means.quiet)
    if outputs.json:
        from watchline.pipeline.identifying import model_record

        about = {"similarity": "cosine", "model": model_record(known.model), "top": question.top}
        counts = {
            name: {"path": spec, "pictures": len(subjects.features), "subjects": len(subjects)}
            for name, spec, subjects in (("gallery", question.gallery, gallery), ("query", question.query, query))
        }
        _put(outputs.json, json.dumps({**about, **counts, "queries": records}, indent=2) + "\n", "--json")
    if outputs.csv:
        _put(outputs.csv, _table(records), "--csv")
    if not outputs.json and not outputs.csv:
        _show(records)
    return is_whole


def _features(question: Question) -> tuple[FeatureSet, FeatureSet, bool]:
    """Returns gallery and queries, of one model, and whether all that was named is in them."""
    from watchline.reid.embedder import expect_same
    from watchline.reid.features import read_features

    specs, means, is_whole = (question.gallery, question.query), question.means, True
    found = {spec: read_features(Path(spec)) for spec in specs if Path(spec).suffix.lower() == ".npz"}
    for spec, features in found.items():
        if question.gallery != question.query and not features.model.sha256:
            raise UsageError(
                f"{spec}: does not say which model made its vectors, so no others may be compared with them; "
                "extract it again"
            )
    if all(spec in found for spec in specs):
        expect_same(found[question.query].model, found[question.gallery].model, question.gallery)
    for spec in dict.fromkeys(specs):
        if spec not in found:
            for other, features in found.items():
                means = replace(means, expected=features.model, expected_by=other)
            done = Extraction(means).run([(spec, False)])
            found[spec], is_whole = done.features, is_whole and done.is_whole
    return _part(found[question.gallery], query=False), _part(found[question.query], query=True), is_whole


def _part(features: FeatureSet, *, query: bool) -> FeatureSet:
    """Returns the side that is wanted, of features that hold both."""
    mine = features.query == query
    return features.take(mine) if mine.any() and not mine.all() else features


def _write_sheet(
    path: Path,
    sides: Sequence[tuple[Subjects, str]],
    pictures: Sequence[Path],
    rankings: Sequence[Ranking],
    *,
    quiet: bool,
) -> None:
    from watchline.pipeline.contact_pictures import Grounds
    from watchline.pipeline.contact_sheet import Side, picture_count, render_sheet

    gallery, query = (Side(subjects, Path(spec).name or spec, Grounds.of(spec, pictures)) for subjects, spec in sides)
    with count_progress(path.name, picture_count(rankings), "pictures", quiet=quiet) as show:
        sheet = render_sheet(gallery, query, rankings, gallery.subjects.features.model, show)
    write_whole(path, sheet.html, "--html")
    say(f"{path}: contact sheet")
    if sheet.outside:
        _say_hidden(sheet)


def _say_hidden(sheet: Sheet) -> None:
    """Says which folder would have to be opened; names come from files that anybody may have made."""
    from watchline.pipeline.cli.sighting_tables import plain

    folders = list(dict.fromkeys(str(Path(name).parent) for name in sheet.outside))
    more = f", and {len(folders) - 1} more such folders" if len(folders) > 1 else ""
    say(
        f"{sheet.hidden} {'picture is' if sheet.hidden == 1 else 'pictures are'} not in it: only those in folders that "
        f"you name may be, links by where they lead; want them: --pictures {shlex.quote(plain(folders[0]))}{more}"
    )


def _put(where: str, text: str, option: str) -> None:
    if where == _STDOUT:
        typer.echo(text, nl=False)
    else:
        write_whole(Path(where), text, option)


def _table(records: Sequence[dict[str, Any]]) -> str:
    from watchline.pipeline.identifying import csv_rows

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(csv_rows(records))
    return text.getvalue()


def _show(records: Sequence[dict[str, Any]]) -> None:
    """Prints the answers for a person to read; names come from files that anybody may have made."""
    from watchline.pipeline.cli.sighting_tables import plain

    for record in records:
        typer.echo(plain(record["query"]["name"] or record["query"]["file"] or "query"))
        for found in record["results"]:
            name = plain(found["name"] or found["file"] or "")
            typer.echo(f"  {found['rank']:3d}  {found['similarity']:.3f}  {name}")
        if not record["results"]:
            typer.echo("  the gallery holds nothing but this")
