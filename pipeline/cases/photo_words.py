"""What was found in a photo, in words and as a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from watchline.pipeline.cases.photos import Photo
from watchline.pipeline.cases.shots import Shot
from watchline.pipeline.cases.subjects import Found, PhotoSubject, Seen

_GOOD, _FAIR = 0.4, 0.15  # least quality; of people in a street 200 px high, half have 0.3
_IN_FULL: Final = 3  # people of whom all is told; of more, only of the one who is meant


def grade(quality: float) -> str:
    """Returns a quality in a word.

    >>> grade(0.5), grade(0.2), grade(0.01)
    ('good', 'fair', 'poor')
    """
    return "good" if quality >= _GOOD else "fair" if quality >= _FAIR else "poor"


def lines_of(photo: Photo, found: Found, taken: PhotoSubject | None, shots: Sequence[Shot] = ()) -> list[str]:
    """Returns the lines that tell a person what was found.

    Args:
        photo: the photo.
        found: in it.
        taken: the one who is meant; None where that must still be said.
        shots: what describes them.
    """
    height, width = photo.rgb.shape[:2]
    lines = [f"{photo.name}: {photo.kind}, {width}x{height}, {photo.file_bytes:,} bytes"]
    lines += [f"  {note}" for note in (photo.note, found.note) if note]
    count = len(found.subjects)
    lines.append("one person:" if count == 1 else f"{count} people, numbered from left to right:")
    for subject in found.subjects:
        in_full = count <= _IN_FULL or subject is taken
        lines += _subject_lines(subject, in_full=in_full)
    if taken is None:
        lines.append(f"who is meant? say it with --person 1 to {count}")
        return lines
    if not taken.usable:
        return [*lines, f"person {taken.number} cannot be searched with; another picture is needed"]
    what = " and ".join(f"{name} ({grade(seen.quality)})" for name, seen in _parts(taken) if not seen.refusal)
    lines.append(f"person {taken.number} can be searched with, by {what}{_warning(taken)}")
    for shot in shots:
        lines.append(f"  {shot.model.kind} described by {shot.model.name}: {shot.model.dimension} numbers")
    return lines


def record_of(photo: Photo, found: Found, taken: PhotoSubject | None, shots: Sequence[Shot] = ()) -> dict[str, object]:
    """Returns the same as a record of plain values."""
    return {
        "photo": photo.name,
        "kind": photo.kind,
        "width": photo.rgb.shape[1],
        "height": photo.rgb.shape[0],
        "bytes": photo.file_bytes,
        "sha256": photo.sha256,
        "notes": [note for note in (photo.note, found.note) if note],
        "people": [_subject_record(subject) for subject in found.subjects],
        "taken": taken.number if taken else None,
        "described": [
            {
                "kind": shot.model.kind,
                "model": shot.model.name,
                "model_sha256": shot.model.sha256,
                "dimension": shot.model.dimension,
                "crop_sha256": shot.jpeg_sha256,
            }
            for shot in shots
        ],
    }


def _parts(subject: PhotoSubject) -> list[tuple[str, Seen]]:
    return [(name, seen) for name, seen in (("body", subject.body), ("face", subject.face)) if seen]


def _warning(taken: PhotoSubject) -> str:
    """Returns what whoever searches by clothes should know."""
    body = taken.body
    if body and not body.refusal:
        return "; clothes change: by body only what was recorded while they wore these can be found"
    return ""


def _subject_lines(subject: PhotoSubject, *, in_full: bool) -> list[str]:
    told = [f"{name} {_told(seen)}" for name, seen in _parts(subject)]
    lines = [f"  {subject.number:>2}  {', '.join(told)}"]
    for name, seen in _parts(subject) if in_full else []:
        lines += [f"      {name}: {text}" for text in (seen.refusal, *seen.advice) if text]
    return lines


def _told(seen: Seen) -> str:
    width, height = (float(side) for side in seen.box[2:] - seen.box[:2])
    size = f"{width:.0f}x{height:.0f} px"
    if seen.refusal:
        return f"{size}, no use ({seen.refusal.partition(':')[0].partition(';')[0]})"
    return f"{size}, {grade(seen.quality)} ({seen.quality:.2f})"


def _subject_record(subject: PhotoSubject) -> dict[str, object]:
    seen = {name: _seen_record(seen) for name, seen in _parts(subject)}
    return {
        "number": subject.number,
        "whole": subject.whole,
        "usable": subject.usable,
        "body": seen.get("body"),
        "face": seen.get("face"),
    }


def _seen_record(seen: Seen) -> dict[str, object]:
    return {
        "box": [round(float(value), 1) for value in seen.box],
        "score": round(seen.score, 3),
        "quality": round(seen.quality, 3),
        "refusal": seen.refusal or None,
        "advice": list(seen.advice),
    }
