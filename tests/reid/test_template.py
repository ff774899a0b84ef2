"""Templates: shots with where they came from, added, removed and grown old."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tests.reid.index_kit import model_of
from tests.reid.people import MODEL, WIDTH, seen
from watchline.detectors.boxes import F32
from watchline.reid.centring import CameraMeans
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import unit
from watchline.reid.template import MOST_SHOTS, Shot, Template
from watchline.streams.errors import UsageError

DAY_S = 24 * 3600.0


def shot(key: str, vector: F32 | None = None, camera: str = "", taken_at: float = 0.0) -> Shot:
    vector = np.eye(WIDTH, dtype=np.float32)[0] if vector is None else vector
    return Shot(key, MODEL, vector, camera, f"{key}.jpg", "ann", 50.0, taken_at, math.nan)


def test_several_shots_make_one_vector_their_mean() -> None:
    a, b = seen(2).vectors[:2]
    assert np.allclose(Template.of(shot("a", a), shot("b", b)).vector(), unit((a + b)[None])[0], atol=1e-6)
    assert np.allclose(Template.of(shot("a", a)).vector(), a, atol=1e-6)


def test_each_shot_is_centred_by_its_own_camera() -> None:
    found = seen(100)
    means = CameraMeans(MODEL)
    means.add(found.vectors, found.cameras)
    template = Template.of(*(shot(name, found.vectors[i], name) for i, name in enumerate(found.cameras[:3])))
    want = unit(found.vectors[:3] - means.of(found.cameras[:3])).mean(axis=0)
    assert np.allclose(template.vector(means), unit(want[None])[0], atol=1e-6)


def test_clothes_serve_for_a_day_and_a_face_for_good() -> None:
    template = Template.of(shot("old", taken_at=0.0), shot("new", taken_at=DAY_S / 2))
    assert template.expires_at(template.shots[0]) == DAY_S
    assert [each.key for each in template.at(DAY_S - 1).shots] == ["old", "new"]
    assert [each.key for each in template.at(DAY_S).shots] == ["new"]
    assert len(template.at(2 * DAY_S)) == 0
    with pytest.raises(UsageError, match="no picture left: all were removed or are too old"):
        template.at(2 * DAY_S).vector()
    face = dataclasses.replace(shot("face"), model=model_of(WIDTH, kind=Kind.FACE))
    assert len(Template.of(face).at(1e12)) == 1
    assert len(Template.of(shot("a"), lifetime_s={Kind.BODY: 9.0}).at(10)) == 0


@pytest.mark.parametrize("other", [model_of(WIDTH, "b" * 64), model_of(WIDTH, kind=Kind.FACE)])
def test_kinds_and_models_do_not_mix(other: EmbeddingModel) -> None:
    stranger = dataclasses.replace(shot("b"), model=other)
    with pytest.raises(UsageError, match=r"b\.jpg: described by osnet .*describe it by the same model"):
        Template.of(shot("a"), stranger)


def test_a_key_is_there_once_and_what_is_not_there_is_not_removed() -> None:
    template = Template.of(shot("a"))
    with pytest.raises(UsageError, match=r"a\.jpg: the template has a picture 'a' already"):
        template.adding(shot("a"))
    with pytest.raises(UsageError, match="no picture 'z'; those that it has: a"):
        template.removing("z")
    with pytest.raises(UsageError, match="those that it has: none"):
        template.removing("a").removing("a")


def test_a_template_has_a_bound_and_begins_with_a_picture() -> None:
    full = Template.of(*(shot(str(i)) for i in range(MOST_SHOTS)))
    with pytest.raises(UsageError, match=f"has {MOST_SHOTS} pictures already; remove one"):
        full.adding(shot("one more"))
    with pytest.raises(UsageError, match="needs a picture"):
        Template.of()


def test_a_shot_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="vector of shot 'a': want finite numbers, and the length 1"):
        shot("a", np.zeros(WIDTH, np.float32))
    with pytest.raises(ValueError, match="shot 'a': want times"):
        shot("a", taken_at=math.nan)
