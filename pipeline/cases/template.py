"""Templates: what a case searches with. Clothes change, so those of appearance last a day; faces, as long as it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from watchline.pipeline.store.asking import utc_text
from watchline.reid.embeddings import EmbeddingModel, Kind

if TYPE_CHECKING:
    from watchline.pipeline.cases.case import CaseRules
    from watchline.pipeline.cases.shots import Shot

_HOUR_S: Final = 3600.0


class TemplateKind(StrEnum):
    """What a template is of."""

    APPEARANCE = "appearance"  # clothes and shape
    FACE = "face"


@dataclass(frozen=True, slots=True)
class Template:
    """One shot of one person that a case searches with, without its vector and picture: these are kept beside it.

    Attributes:
        id: unique at the site.
        case: id of its case.
        person: whom of the case it shows, as the case calls them.
        kind: what it is of.
        model: what made its vector.
        quality: of its picture, in (0, 1].
        made_s: when, UTC seconds.
        expires_s: until when, UTC seconds; None for as long as the case.
        jpeg_sha256: of its picture.
        photo_sha256: of the photo's file, as it came.
    """

    id: str
    case: str
    person: str
    kind: TemplateKind
    model: EmbeddingModel
    quality: float
    made_s: float
    expires_s: float | None
    jpeg_sha256: str
    photo_sha256: str

    def is_over(self, now_s: float) -> bool:
        """Returns whether its own time is over at `now_s`, UTC seconds; its case may be over before."""
        return self.expires_s is not None and now_s >= self.expires_s

    def words(self) -> str:
        """Returns how long it lasts, for a person."""
        if self.expires_s is None:
            return f"{self.kind}: lasts as long as the case"
        hours = (self.expires_s - self.made_s) / _HOUR_S
        return f"{self.kind}: lasts {hours:g} h, until {utc_text(self.expires_s)}, for clothes change"


def template_of(shot: Shot, id_: str, case: str, person: str, now_s: float, rules: CaseRules) -> Template:
    """Returns the template that a shot makes.

    Args:
        shot: of somebody in a photo.
        id_: of the template, unique at the site.
        case: id of the case.
        person: whom of the case it shows.
        now_s: UTC seconds.
        rules: of the site; they say how long clothes last.
    """
    is_face = shot.model.kind is Kind.FACE
    return Template(
        id=id_,
        case=case,
        person=person,
        kind=TemplateKind.FACE if is_face else TemplateKind.APPEARANCE,
        model=shot.model,
        quality=shot.quality,
        made_s=now_s,
        expires_s=None if is_face else now_s + rules.appearance_s,
        jpeg_sha256=shot.jpeg_sha256,
        photo_sha256=shot.photo_sha256,
    )
