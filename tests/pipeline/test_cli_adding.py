"""`watchline models add` and `remove`, run in this process as the command line runs them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from watchline.pipeline.cli import models
from watchline.pipeline.model import load_model
from watchline.streams.errors import ModelError, OutputError, UsageError, WatchlineError

CELLS = 8 * 12 + 4 * 6 + 2 * 3


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A YOLOX of two classes, which says nothing of itself and looks as any of three families."""
    shape = [1, CELLS, 7]
    node = helper.make_node("Constant", [], ["output"], value=helper.make_tensor("", 1, shape, [0.5] * (CELLS * 7)))
    used = helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0)
    graph = helper.make_graph(
        [node, used, helper.make_node("Add", ["output", "mean"], ["answer"])],
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "gate.v2.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server that holds the folder of this test."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(cache: Path, command: str, *arguments: str | Path) -> Result:
    line = [command, "--cache", str(cache), *map(str, arguments)]
    return CliRunner().invoke(models.app, line, env={"COLUMNS": "120"}, catch_exceptions=False)


def refusal(cache: Path, command: str, *arguments: str | Path) -> WatchlineError:
    with pytest.raises(WatchlineError) as caught:
        run(cache, command, *arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def no_fetch(entry: object) -> Path:
    raise AssertionError(f"fetches {entry}")


def test_a_model_is_found_by_its_name_from_then_on(network: Path, cache: Path) -> None:
    done = run(cache, "add", network, "--family", "yolox", "--classes", "door, gate", "--licence", "MIT")
    assert "gate-v2: a yolox detect model, 2 classes, licence MIT" in done.stdout
    assert "pinned to sha256 " + hashlib.sha256(network.read_bytes()).hexdigest() in done.stderr
    lines = [line.split() for line in run(cache, "list").stdout.splitlines()]
    assert ["gate-v2", "model", "detect", "0.0", "MB", "MIT", "yes"] in lines
    assert "ok" in run(cache, "verify", "gate-v2").stdout
    assert "labels        door, gate" in run(cache, "info", "gate-v2").stdout


def test_what_runs_says_itself_what_it_is(network: Path, cache: Path) -> None:
    run(cache, "add", network, "--name", "gate", "--family", "yolox", "--classes", "door,gate")
    from watchline.detectors.engine import OnnxEngine

    made = load_model("gate", cache, lambda entry: cache / entry.file).onnx
    card = OnnxEngine(made, "cpu").card
    assert (card.family, card.labels, card.colour, card.placement) == ("yolox", ("door", "gate"), "bgr", "corner")
    assert load_model("gate", cache, lambda entry: cache / entry.file).onnx == made


def test_a_manifest_says_what_options_cannot(network: Path, cache: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "gate.toml"
    manifest.write_text('family = "yolox"\nclasses = ["a", "b"]\ncolour = "rgb"\nscale = 255\nlicence = "MIT"\n')
    run(cache, "add", network, "--name", "gate", "--manifest", manifest, "--licence", "Apache-2.0")
    written = (cache / "gate.toml").read_text()
    for line in ('colour = "rgb"', "scale = 255", 'classes = ["a", "b"]', 'licence = "Apache-2.0"', 'task = "detect"'):
        assert line in written.splitlines()


def test_a_file_that_was_changed_is_refused(network: Path, cache: Path) -> None:
    run(cache, "add", network, "--name", "gate", "--family", "yolox")
    with (cache / "gate.onnx").open("ab") as file:
        file.write(b"more")
    assert "damaged" in run_failing(cache, "verify", "gate")
    assert "gate is not in" in str(refusal(cache, "info", "gate"))


def run_failing(cache: Path, *arguments: str) -> str:
    return str(refusal(cache, *arguments))


def test_an_address_is_fetched_and_pinned(network: Path, cache: Path, site: str) -> None:
    run(cache, "add", f"{site}/{network.name}", "--name", "gate", "--family", "yolox")
    assert (cache / "gate.onnx").read_bytes() == network.read_bytes()
    assert f'source = "{site}/{network.name}"' in (cache / "gate.toml").read_text()
    (cache / "gate.onnx").unlink()
    run(cache, "pull", "gate")
    assert (cache / "gate.onnx").read_bytes() == network.read_bytes()


def test_an_address_with_a_password_is_not_written_down(network: Path, cache: Path, site: str) -> None:
    run(cache, "add", f"{site.replace('//', '//ann:secret@')}/{network.name}", "--name", "gate", "--family", "yolox")
    assert "secret" not in (cache / "gate.toml").read_text()
    assert "source" not in (cache / "gate.toml").read_text()


def test_another_file_than_the_pinned_one_is_not_added(network: Path, cache: Path, site: str) -> None:
    for source in (str(network), f"{site}/{network.name}"):
        error = refusal(cache, "add", source, "--name", "gate", "--sha256", "A" * 64)
        assert "a" * 64 in str(error)
        assert not list(cache.glob("gate*"))


def test_what_cannot_be_used_leaves_nothing_behind(network: Path, cache: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    for source, options in ((junk, ()), (network, ("--family", "yunet")), (tmp_path / "none.pt", ())):
        assert isinstance(refusal(cache, "add", source, *options), ModelError)
        assert not list(cache.glob("*.onnx")) + list(cache.glob("*.toml")) + list(cache.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "yolov8n"], "the catalog has a model or clip of that name"),
        (["--name", "face_detection_yunet_2026may"], "the catalog has a model or clip of that name"),
        (["--name", "a b"], "want up to 64 letters"),
        (["--name", "../x"], "want up to 64 letters"),
        (["--family", "yolo3"], "--family yolo3: want one of"),
        (["--sha256", "12"], "--sha256 = '12': want 64 lower-case hex digits"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(
    arguments: list[str], reason: str, network: Path, cache: Path
) -> None:
    error = refusal(cache, "add", network, *arguments)
    assert reason in str(error)
    assert isinstance(error, UsageError | ModelError)


def test_a_file_of_another_kind_is_refused_by_its_ending(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"x")
    assert "want a file that ends in .onnx" in str(refusal(cache, "add", tmp_path / "model.tflite"))


def test_a_name_is_taken_once(network: Path, cache: Path) -> None:
    run(cache, "add", network, "--name", "gate", "--family", "yolox")
    assert "gate was added before" in str(refusal(cache, "add", network, "--name", "gate", "--family", "yolox"))


def test_a_removed_model_is_gone(network: Path, cache: Path) -> None:
    run(cache, "add", network, "--name", "gate", "--family", "yolox")
    assert f"removed {cache / 'gate.onnx'}" in run(cache, "remove", "gate").stdout
    assert not list(cache.glob("gate*"))
    assert "no model called 'gate' was added" in str(refusal(cache, "remove", "gate"))
    assert "no model called 'yolov8n' was added" in str(refusal(cache, "remove", "yolov8n"))


def test_a_manifest_that_somebody_broke_is_named_and_harms_no_other(network: Path, cache: Path) -> None:
    run(cache, "add", network, "--name", "gate", "--family", "yolox")
    (cache / "gate.toml").write_text('family = "yolox"\n')
    error = refusal(cache, "info", "gate")
    assert "gate.toml: no 'file'; correct it, or `watchline models remove gate`" in str(error)
    assert "yolov8n is not in" in str(refusal(cache, "info", "yolov8n"))


def test_a_cache_that_cannot_be_written_is_an_output_error(network: Path, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    assert isinstance(refusal(in_the_way / "cache", "add", network, "--family", "yolox"), OutputError)


def test_a_model_that_compares_is_refused_for_a_run_before_it_is_fetched(cache: Path) -> None:
    with pytest.raises(UsageError, match="sface compares pictures and finds nothing"):
        load_model("sface", cache, no_fetch)
