"""Which models `watchline run` is asked for: `--model`, once or more, and what `--family` and `--conf` say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from watchline.pipeline.run import ModelChoice
from watchline.streams.errors import UsageError


def choose_models(models: Sequence[str], families: Sequence[str], scores: Sequence[str]) -> tuple[ModelChoice, ...]:
    """Returns the models that were asked for, each with its family and its least score.

    A model is named as it was given, or by the last part of its path.

    Args:
        models: catalog names and files, as given; not empty.
        families: NAME, where there is one model, or MODEL=NAME.
        scores: SCORE, for all models that have none of their own, or MODEL=SCORE.

    Raises:
        UsageError: what belongs to no model, or to more than one; a model with two; a score that is none.

    >>> choose_models(["yolov8n", "models/f.onnx"], ["f.onnx=yolov8-face"], [])[1]
    ModelChoice(model='models/f.onnx', family='yolov8-face', conf=None)
    """
    family_of, families_for_all = _by_model("--family", models, families)
    score_of, scores_for_all = _by_model("--conf", models, scores)
    if families_for_all and len(family_of) > 1:
        given = families_for_all[0]
        raise UsageError(f"--family {given}: there are {len(family_of)} models; {_how('--family', family_of)}")
    if len(scores_for_all) > 1 or len(families_for_all) > 1:
        option = "--conf" if len(scores_for_all) > 1 else "--family"
        raise UsageError(f"{option} is given twice; {_how(option, family_of)}")
    for_all = [_score(score) for score in scores_for_all]
    return tuple(
        ModelChoice(
            model=model,
            family=next(iter(family_of[model] or families_for_all), ""),
            conf=next(iter([*map(_score, score_of[model]), *for_all]), None),
        )
        for model in models
    )


def _by_model(option: str, models: Sequence[str], values: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Returns the values of each model, one at most, and those that name none."""
    of: dict[str, list[str]] = {model: [] for model in models}
    for_all: list[str] = []
    for given in values:
        whose, parted, value = given.rpartition("=")
        if not parted:
            for_all.append(value)
            continue
        meant = [model for model in of if whose in (model, Path(model).name)]
        if len(meant) != 1:
            what = f"{len(meant)} models are called {whose}" if meant else f"no --model is {whose}"
            raise UsageError(f"{option} {given}: {what}; {_how(option, of)}")
        if of[meant[0]]:
            raise UsageError(f"{option} {given}: {meant[0]} has {of[meant[0]][0]} already; give each model one")
        of[meant[0]].append(value)
    return of, for_all


def _how(option: str, models: Sequence[str] | dict[str, list[str]]) -> str:
    return f"give {option} MODEL={'NAME' if option == '--family' else 'SCORE'} for one of {', '.join(models)}"


def _score(given: str) -> float:
    try:
        score = float(given)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise UsageError(f"--conf {given}: want a number from 0 to 1")
    return score
