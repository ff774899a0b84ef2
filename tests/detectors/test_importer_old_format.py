"""Checkpoints in the format of torch before 1.6."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made
from watchline.detectors.importer.archive import Limits
from watchline.detectors.importer.checkpoint import Checkpoint, Tensor
from watchline.detectors.importer.convert import describe, import_checkpoint
from watchline.streams.errors import ModelError

NUMBERS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([0.5, -2], np.float16)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pt"


def test_its_numbers_are_those_that_were_saved(path: Path) -> None:
    path.write_bytes(checkpoints.old_checkpoint(NUMBERS))
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        for name, numbers in NUMBERS.items():
            tensor = checkpoint.root[name]
            assert isinstance(tensor, Tensor)
            np.testing.assert_array_equal(checkpoint.numbers(tensor), numbers)


def test_a_network_is_the_same_in_both_formats(path: Path, tmp_path: Path) -> None:
    images, answers = np.random.default_rng(3).random((1, 3, 16, 24), np.float32), []
    for write in (checkpoints.checkpoint, checkpoints.old_checkpoint):
        path.write_bytes(write({"model": checkpoints.small_network()}))
        assert describe(path).supported
        session = onnxruntime.InferenceSession(import_checkpoint(path, tmp_path), providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"images": images})[0])
    np.testing.assert_array_equal(*answers)


def test_the_source_code_that_it_brings_is_ignored(path: Path, tmp_path: Path) -> None:
    """The older torch saves the source of every class beside it."""
    sentinel = tmp_path / "ran"
    code = f"open({str(sentinel)!r}, 'w')"
    writer = checkpoints.Writer()
    kind = checkpoints.Global("os.system").code()
    shown = b"(" + writer.value("module") + kind + writer.value("net.py") + writer.value(code) + b"tQ"
    whole = checkpoints.old_checkpoint(Made("x.Y"))
    path.write_bytes(whole.replace(checkpoints.Global("x.Y").code(), shown))
    with Checkpoint(path) as checkpoint:
        assert getattr(checkpoint.root, "name", "") == "os.system"
    assert not sentinel.exists()


def test_a_file_cut_anywhere_is_refused_in_one_line(path: Path) -> None:
    whole = checkpoints.old_checkpoint(NUMBERS)
    for length in range(14, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"^net\.pt: [^\n]+$"):
            Checkpoint(path)


def test_changed_bytes_never_raise_anything_else(path: Path) -> None:
    whole, random = checkpoints.old_checkpoint(NUMBERS), np.random.default_rng(4)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[random.integers(14, len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            with Checkpoint(path) as checkpoint:
                assert checkpoint.root is not None
        except ModelError as error:
            assert "\n" not in str(error)


def test_a_file_from_a_big_endian_machine_is_refused(path: Path) -> None:
    path.write_bytes(checkpoints.old_checkpoint(NUMBERS, {"little_endian": False}))
    with pytest.raises(ModelError, match="big-endian"):
        Checkpoint(path)


def test_a_file_larger_than_allowed_is_refused(path: Path) -> None:
    path.write_bytes(checkpoints.old_checkpoint(NUMBERS))
    with pytest.raises(ModelError, match="larger than 100 bytes"):
        Checkpoint(path, Limits(file_bytes=100))
