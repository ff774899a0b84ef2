"""OpenVINO as a second runtime: the same answers, detectors of the Open Model Zoo, and one line where it is missing."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.command import json_lines, summary_of, watchline
from tests.detectors.ir_files import Net, tiny
from tests.detectors.test_engine import DYNAMIC, write_model
from tests.detectors.test_ir import SIZE, YAML, converted, pictures
from tests.fakes import make_frame
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.feeding import feed
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.registry import head_of
from watchline.detectors.importer.convert import describe, import_checkpoint
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.manifest import Manifest
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.detectors.openvino_engine import OpenVinoEngine
from watchline.detectors.vetting import vet
from watchline.streams.errors import ModelError, UsageError

# Rows of an SSD: picture, label, score, box as parts of the input.
ROWS = np.array(
    [
        [0, 1, 0.9, 0.25, 0.5, 0.5, 1.0],
        [0, 2, 0.6, 0.0, 0.0, 0.5, 0.5],
        [0, 1, 0.05, 0.1, 0.1, 0.2, 0.2],
        [-1, 0, 0, 0, 0, 0, 0],
        [0, 1, 0.99, 0, 0, 1, 1],  # left over from an earlier picture
    ],
    np.float32,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.xml"


def ssd(openvino: ModuleType, path: Path, yaml: str = "") -> Path:
    """Writes a network that answers `ROWS` for every picture."""
    op = openvino.opset8
    image = op.parameter([1, 3, 30, 60], np.float32, name="image")
    nothing = op.multiply(op.reduce_mean(image, np.array([1, 2, 3]), keep_dims=True), np.float32(0))
    rows = op.add(nothing, op.constant(ROWS[None, None]))
    return saved(openvino, rows, image, path, yaml)


def real_ssd(openvino: ModuleType, path: Path) -> Path:
    """Writes a network whose last layer is that of the Open Model Zoo, for two boxes and two classes and no object."""
    op = openvino.opset8
    image = op.parameter([1, 3, 30, 60], np.float32, name="data")
    nothing = op.multiply(op.reshape(op.reduce_mean(image, np.array([1, 2, 3])), [1, 1], False), np.float32(0))
    offsets = op.add(nothing, np.zeros((1, 8), np.float32))
    scores = op.add(nothing, np.array([[0.05, 0.9, 0.05, 0.1, 0.1, 0.8]], np.float32))
    priors = np.array([[[0.1, 0.2, 0.3, 0.6, 0.5, 0.5, 1, 1], [0.1, 0.1, 0.2, 0.2] * 2]], np.float32)
    settings = {
        "background_label_id": 0, "top_k": 10, "keep_top_k": [4], "nms_threshold": 0.5, "confidence_threshold": 0.02,
        "code_type": "caffe.PriorBoxParameter.CENTER_SIZE", "share_location": True, "normalized": True,
    }  # fmt: skip
    rows = op.detection_output(offsets, scores, op.constant(priors), settings)
    return saved(openvino, rows, image, path, "names: {0: background, 1: vehicle, 2: person}\n")


def saved(openvino: ModuleType, output: Any, image: Any, path: Path, yaml: str) -> Path:
    openvino.save_model(openvino.Model([output], [image], "ssd"), path, compress_to_fp16=False)
    if yaml:
        path.with_name("metadata.yaml").write_text(yaml)
    return path


def test_it_answers_what_onnx_runtime_answers(openvino: ModuleType, path: Path, tmp_path: Path) -> None:
    converted(openvino, "yolov8n-seg", path, half=False)
    path.with_name("metadata.yaml").write_text(YAML.replace("detect", "segment").replace("stride: 8", "stride: 32"))
    theirs, ours = open_engine(path, "openvino-f32"), open_engine(import_checkpoint(path, tmp_path / "cache"), "cpu")
    assert isinstance(theirs, OpenVinoEngine)
    assert isinstance(ours, OnnxEngine)
    assert (theirs.info.device, theirs.fixed_size) == ("cpu", SIZE)
    assert theirs.info.runtime == "openvino " + openvino.__version__.partition("-")[0]
    assert (theirs.card.family, theirs.card.task, theirs.card.outputs) == ("yolov8", "segment", ("output0", "output1"))
    for found, expected in zip(theirs.run(pictures()), ours.run(pictures()), strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < 1e-3


def test_a_row_does_not_depend_on_its_batch_nor_on_the_thread(openvino: ModuleType, path: Path) -> None:
    converted(openvino, "small", path, half=False)
    path.with_name("metadata.yaml").write_text(YAML)
    engine = OpenVinoEngine(path)
    batch = np.random.default_rng(1).random((6, 3, *SIZE), np.float32)
    together = engine.run(batch)[0]
    assert len(together) == 6
    with ThreadPoolExecutor(3) as pool:
        singles = list(pool.map(lambda i: engine.run(batch[i : i + 1])[0][0], list(range(6)) * 5))
    for i, single in enumerate(singles):
        assert np.array_equal(single, together[i % 6])


def test_an_input_of_the_wrong_size_is_one_line(openvino: ModuleType, path: Path) -> None:
    converted(openvino, "small", path, half=False)
    path.with_name("metadata.yaml").write_text(YAML)
    with pytest.raises(ModelError, match=r"^OpenVINO failed on an input of 1x3x64x64: ") as caught:
        OpenVinoEngine(path).run(pictures((64, 64)))
    assert "\n" not in str(caught.value)


def test_a_network_of_any_size_takes_any(openvino: ModuleType, path: Path) -> None:
    op = openvino.opset13
    image = op.parameter([-1, 3, -1, -1], np.float32, name="image")
    weight = np.full((4 + 3, 3, 8, 8), 1e-3, np.float32)
    cells = op.convolution(image, weight, [8, 8], [0, 0], [0, 0], [1, 1])
    rows = op.reshape(cells, np.array([0, 7, -1], np.int64), special_zero=True)
    model = openvino.Model([rows], [image], "any")
    openvino.save_model(model, path, compress_to_fp16=False)
    path.with_name("metadata.yaml").write_text(YAML)
    engine = OpenVinoEngine(path)
    assert engine.fixed_size is None
    assert engine.card.layout == "decoded"
    for size in ((64, 96), (32, 32)):
        assert engine.run(pictures(size))[0].shape == (1, 7, size[0] * size[1] // 64)
    assert describe(path).input == ("any", "3", "any", "any")
    with pytest.raises(ModelError, match="all fixed: export it with a fixed size"):
        import_checkpoint(path, path.parent / "cache")


def test_a_network_that_changes_while_it_is_in_use_is_not_mixed_with_what_it_was(
    openvino: ModuleType, tmp_path: Path
) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    engine = OpenVinoEngine(path)
    engine.run(pictures((8, 16)))
    engine.run(pictures((16, 8)))  # read anew for another size
    path.write_bytes(path.read_bytes() + b"\0")
    engine.run(pictures((8, 16)))
    with pytest.raises(ModelError, match="changed while it was in use"):
        engine.run(pictures((32, 8)))
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        engine.run(pictures((32, 8)))


SIGNALLED = """
import faulthandler, os, signal, sys, threading
from pathlib import Path
from watchline.detectors.opening import open_engine
faulthandler.enable()  # handlers then run on a stack of their own, as they do in the daemon's children
engines = [open_engine(Path(sys.argv[1]), "openvino") for _ in range(2)]
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


def test_a_signal_is_handled_after_a_network_was_let_go_in_another_thread(openvino: ModuleType, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\nalive\n"), done.stderr[-2000:]


def test_running_an_onnx_network_loads_neither_onnx_nor_onnx_runtime(openvino: ModuleType, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    vet(path, tmp_path)
    code = (
        "import sys; from pathlib import Path; from watchline.detectors.opening import open_engine; "
        "from watchline.detectors.vetting import vet; vet(Path(sys.argv[1]), Path(sys.argv[1]).parent); "
        "import numpy as np; open_engine(Path(sys.argv[1]), 'openvino').run(np.ones((1, 3, 8, 16), np.float32)); "
        "print([name for name in ('onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_network_that_takes_no_pictures_is_refused(openvino: ModuleType, path: Path) -> None:
    net = tiny()
    net.layers[0] = net.layers[0].replace('element_type="f32"', 'element_type="i64"')
    with pytest.raises(ModelError, match=r"^tiny\.xml: not a picture network: want one f32 input"):
        OpenVinoEngine(net.save(path))


def test_a_network_that_openvino_refuses_is_one_line(openvino: ModuleType, path: Path) -> None:
    ssd(openvino, path)
    path.write_text(path.read_text().replace('type="ReduceMean"', 'type="Nonsense"'))
    with pytest.raises(ModelError, match=r"tiny\.xml: OpenVINO cannot load it \(.*Nonsense") as caught:
        OpenVinoEngine(path)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_channel_count_is_refused(openvino: ModuleType, path: Path) -> None:
    net = Net()
    net.result(net.image((1, 4, 8, 8)))
    with pytest.raises(ModelError, match=r"its input is \(1, 4, 8, 8\); want \(1, 3, H, W\)"):
        OpenVinoEngine(net.save(path))


def test_it_runs_on_the_cpu_alone(path: Path) -> None:
    with pytest.raises(UsageError, match=r"device 'cuda': an OpenVINO network runs on the CPU; use --device openvino"):
        open_engine(tiny().save(path), "cuda")


def test_where_it_is_missing_the_error_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match=r"OpenVINO is not installed; `pip install 'watchline\[openvino\]'`, or turn "):
        open_engine(tiny().save(path))


def test_openvino_does_not_report_its_use(openvino: ModuleType) -> None:
    code = (
        "import sys; from watchline.detectors.runtime import load_openvino; load_openvino(); "
        "print([(name, module) for name, module in sys.modules.items() if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[('openvino_telemetry', None)]\n"


# --- SSDs of the Open Model Zoo ---


def test_an_ssd_says_what_it_needs_to_be_told(openvino: ModuleType, path: Path) -> None:
    ssd(openvino, path)
    with pytest.raises(
        ModelError, match=r"look like an SSD's of the Open Model Zoo; if it is one, say --family omz-ssd-p"
    ):
        OpenVinoEngine(path)
    with pytest.raises(ModelError, match=r"an SSD network that does not name its classes"):
        OpenVinoEngine(path, said=Manifest("omz-ssd"))
    assert "--family omz-ssd-person" in describe(path).reason


def test_another_network_is_no_ssd(openvino: ModuleType, path: Path) -> None:
    converted(openvino, "small", path, half=False)
    with pytest.raises(ModelError, match=r"a omz-ssd model's outputs would be one, \(1, 1, boxes, 7\)"):
        OpenVinoEngine(path, said=Manifest("omz-ssd-face"))


@pytest.mark.parametrize("kind", ["person", "face"])
def test_an_ssd_of_one_class_finds_that(openvino: ModuleType, kind: str, path: Path) -> None:
    engine = OpenVinoEngine(ssd(openvino, path), said=Manifest(f"omz-ssd-{kind}"))
    assert (engine.card.labels, engine.card.colour, engine.card.placement) == ((kind,), "bgr", "stretch")
    (found,) = NetworkDetector(engine, DetectorOptions(0.1)).detect([make_frame(height=100, width=400)])
    # Its input is 60 wide and 30 high; the frame was bent to it.
    assert np.allclose(found.xyxy, [[100, 50, 200, 100], [0, 0, 200, 50]])
    assert np.allclose(found.score, [0.9, 0.6])
    assert found.class_id.tolist() == [0, 0]


def test_an_ssd_of_several_classes_is_named_by_what_lies_beside_it(openvino: ModuleType, path: Path) -> None:
    ssd(openvino, path, "names: {0: background, 1: vehicle, 2: person}\n")
    engine = OpenVinoEngine(path, said=Manifest("omz-ssd"))
    detector = NetworkDetector(engine, DetectorOptions(0.1, classes=("person",)))
    (found,) = detector.detect([make_frame(height=100, width=400)])
    assert [detector.labels[i] for i in found.class_id] == ["person"]
    assert np.allclose(found.xyxy, [[0, 0, 200, 50]])


def test_the_last_layer_of_the_zoo_is_read(openvino: ModuleType, path: Path, tmp_path: Path) -> None:
    detector = NetworkDetector(
        OpenVinoEngine(real_ssd(openvino, path), said=Manifest("omz-ssd")), DetectorOptions(0.25)
    )
    (found,) = detector.detect([make_frame(height=100, width=400)])
    assert [detector.labels[i] for i in found.class_id] == ["vehicle", "person"]
    assert np.allclose(found.score, [0.9, 0.8])
    assert np.allclose(found.xyxy, [[40, 20, 120, 60], [200, 50, 400, 100]], atol=1e-3)
    with pytest.raises(ModelError, match=r"operation \w+ \(opset\d+\) at .* is not supported"):
        import_checkpoint(path, tmp_path / "cache")


def test_rows_end_at_the_first_without_a_picture() -> None:
    card = ModelCard("omz-ssd", "detect", ("a", "b", "c"), (1,), layout="finished", batched=False)
    found = head_of(card)(Answer((ROWS[None, None],), card, (30, 60)), 0.01)
    assert found.class_id.tolist() == [1, 2, 1]
    assert found.xyxy[0].tolist() == [15, 15, 30, 30]
    none = head_of(card)(Answer((ROWS[None, None, 3:],), card, (30, 60)), 0.01)
    assert len(none) == 0


def test_a_stretched_frame_fills_the_input_in_the_colours_asked_for() -> None:
    card = ModelCard("omz-ssd", "detect", ("a",), (1,), colour="bgr", scale=1.0, placement="stretch")
    rgb = np.zeros((10, 40, 3), np.uint8)
    rgb[:, 20:] = (10, 20, 30)
    out = np.full((3, 20, 20), np.nan, np.float32)
    box = Letterbox.stretch(10, 40, 20, 20)
    feed(rgb, box, card, out)
    assert out[:, 0, -1].tolist() == [30, 20, 10]
    assert not out[:, :, :9].any()
    corners = np.array([[0, 0, 40, 10], [20, 5, 40, 10]], np.float32)
    assert np.allclose(box.to_input(corners), [[0, 0, 20, 20], [10, 10, 20, 20]])
    assert np.allclose(box.to_frame(box.to_input(corners)), corners)
    assert np.allclose(box.points_to_frame(np.array([[10, 10]], np.float32)), [[20, 5]])


# --- the command line ---


def test_watchline_run_follows_what_an_openvino_network_finds(
    openvino: ModuleType, clip: Path, path: Path, tmp_path: Path
) -> None:
    done = watchline(
        "run", clip, "--model", ssd(openvino, path), "--family", "omz-ssd-person", "--out", tmp_path / "out",
        "--cache", tmp_path / "cache", "--max-frames", "5", "--no-video",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "yard"
    facts = summary_of(folder)
    assert (facts["model"]["family"], facts["machine"]["provider"][:12]) == ("omz-ssd", "OpenVINO CPU")
    assert facts["machine"]["runtime"].startswith("openvino 20")
    assert {track["class"] for line in json_lines(folder / "tracks.jsonl") for track in line["tracks"]} == {"person"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("person-reid-0288-fp16", [(2, 256)]),
        ("age-gender-0013-int8", [(2, 2, 1, 1), (2, 1, 1, 1)]),
        ("person-attributes-0230-fp16", [(2, 8, 1, 1), (2, 2, 1, 1), (2, 2, 1, 1)]),
    ],
)
def test_networks_of_other_tasks_run_for_who_knows_what_they_are(
    openvino: ModuleType, data_dir: Path, name: str, shapes: list[tuple[int, ...]]
) -> None:
    file = data_dir / "models" / f"{name}.xml"
    with pytest.raises(ModelError, match=r"are not those of a known detector|it compares pictures"):
        OpenVinoEngine(file)
    card = ModelCard("omz", "embed", (), (1,), colour="bgr", scale=1.0, placement="stretch")
    engine = OpenVinoEngine(file, card=card)
    size = engine.fixed_size
    assert size
    two = np.stack([np.full((3, *size), 114, np.float32), pictures(size)[0] * 255])
    found = engine.run(two)
    assert [output.shape for output in found] == shapes
    for output in found:
        assert np.isfinite(output).all()
        assert not np.array_equal(output[0], output[1])


def test_a_card_of_other_outputs_is_refused(openvino: ModuleType, path: Path) -> None:
    card = ModelCard("omz", "embed", (), (1,), outputs=("gone",))
    with pytest.raises(ModelError, match=r"tiny\.xml: it has no output 'gone', only \S+"):
        OpenVinoEngine(ssd(openvino, path), card=card)
