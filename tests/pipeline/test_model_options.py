from __future__ import annotations

import pytest

from watchline.pipeline.cli.model_options import choose_models
from watchline.pipeline.run import ModelChoice, RunOptions
from watchline.streams.errors import UsageError


def test_one_model_takes_a_family_by_itself_or_by_name() -> None:
    assert choose_models(["a.onnx"], [], []) == (ModelChoice("a.onnx"),)
    assert choose_models(["a.onnx"], ["yolox"], []) == (ModelChoice("a.onnx", "yolox"),)
    assert choose_models(["dir/a.onnx"], ["a.onnx=yolox"], []) == (ModelChoice("dir/a.onnx", "yolox"),)


def test_of_several_models_each_has_its_own_family() -> None:
    families = ["b.onnx=yolov8-face", "x/a=1.onnx=yolox"]
    assert choose_models(["x/a=1.onnx", "yolov8n", "y/b.onnx"], families, []) == (
        ModelChoice("x/a=1.onnx", "yolox"),
        ModelChoice("yolov8n"),
        ModelChoice("y/b.onnx", "yolov8-face"),
    )


@pytest.mark.parametrize(
    ("families", "words"),
    [
        (["yolox"], "there are 3 models; give --family MODEL=NAME for one of x/a.onnx, y/a.onnx, b.onnx"),
        (["a.onnx=yolox"], "2 models are called a.onnx"),
        (["c.onnx=yolox"], "no --model is c.onnx"),
        (["b.onnx=yolox", "b.onnx=yolov6"], "b.onnx has yolox already; give each model one"),
    ],
)
def test_a_family_that_belongs_to_no_model_is_refused(families: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_models(["x/a.onnx", "y/a.onnx", "b.onnx"], families, [])
    assert words in str(caught.value)


def test_a_score_is_for_all_models_that_have_none_of_their_own() -> None:
    models = ["a", "x/b.onnx", "c"]
    assert [choice.conf for choice in choose_models(models, [], [])] == [None, None, None]
    assert [choice.conf for choice in choose_models(models, [], ["0.3"])] == [0.3, 0.3, 0.3]
    assert [choice.conf for choice in choose_models(models, [], ["b.onnx=0.6", "0.3"])] == [0.3, 0.6, 0.3]
    assert [choice.conf for choice in choose_models(models, [], ["b.onnx=0.6"])] == [None, 0.6, None]


@pytest.mark.parametrize("score", ["1.5", "-0.1", "nan", "much", "", "a=2"])
def test_a_score_is_a_number_from_0_to_1(score: str) -> None:
    with pytest.raises(UsageError, match=r"--conf .*: want a number from 0 to 1"):
        choose_models(["a", "b"], [], [score])


def test_two_scores_for_all_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="--conf is given twice; give --conf MODEL=SCORE for one of a, b"):
        choose_models(["a", "b"], [], ["0.2", "0.3"])


def test_the_options_of_a_run_list_all_models_the_first_one_first() -> None:
    options = RunOptions(model="a", family="yolox", companions=(ModelChoice("b"),))
    assert options.models == (ModelChoice("a", "yolox", 0.25), ModelChoice("b"))
