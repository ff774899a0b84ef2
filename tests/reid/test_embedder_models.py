"""Real networks are opened by name or path and fed as they were trained: golden vectors of drawn pictures show it."""

from __future__ import annotations

import functools
import importlib.util
import lzma
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.command import write_tiny_model
from tests.reid.drawn import face, person
from watchline.detectors import added
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.catalog import Catalog, Entry
from watchline.detectors.embedder_cards import IMAGENET_MEAN, IMAGENET_STD, family_of_onnx
from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.importer.description import hash_file
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.manifest import Manifest
from watchline.pipeline.embedding import known_as, open_embedder
from watchline.reid.embedder import Embedder, expect_same
from watchline.reid.embeddings import Kind
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import U8

WITHIN = 0.002  # of a number of a unit vector; other versions of the runtime and of OpenCV differ by less
OSNET_OF_OURS = Path(__file__).parents[1] / "parity" / "embedders" / "osnet.pth.xz"


@dataclass(frozen=True)
class Golden:
    """What a network says of a drawn picture: some numbers of its vector, by their places."""

    file: str
    kind: Kind
    dimension: int
    picture: Callable[[], U8]
    numbers: dict[int, float]


GOLDEN = {
    "osnet": Golden(
        "osnet_x0_25_msmt17.onnx",
        Kind.BODY,
        512,
        person,
        {15: 0.15356, 213: 0.28535, 226: 0.24841, 347: 0.22085, 419: 0.14623, 433: 0.21454, 469: 0.30041, 482: 0.15993},
    ),
    "omz-reid": Golden(
        "person-reid-0288-fp16.xml",
        Kind.BODY,
        256,
        person,
        dict(
            zip(
                (43, 49, 124, 132, 157, 195, 205, 232),
                (0.14852, 0.14046, -0.14276, -0.14558, -0.14352, -0.16364, 0.14806, -0.15011),
                strict=True,
            )
        ),
    ),
    "mobilefacenet": Golden(
        "mobilefacenet.onnx",
        Kind.FACE,
        128,
        face,
        {0: 0.1729, 3: 0.18888, 53: -0.17497, 56: 0.20894, 73: -0.1977, 82: 0.24419, 117: 0.17484, 118: -0.17101},
    ),
}


def not_fetched(entry: Entry) -> Path:
    raise AssertionError(f"{entry.name} should not be fetched")


def needed(data_dir: Path, file: str) -> Path:
    path = data_dir / "models" / file
    if not path.exists():
        pytest.skip(f"no {file} in the test data")
    if path.suffix == ".xml" and importlib.util.find_spec("openvino") is None:
        pytest.skip("no OpenVINO here: the extra watchline[openvino] brings it")
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> Golden:
    return GOLDEN[request.param]


@functools.cache
def real(path: Path, cache: Path, kind: Kind) -> Embedder:
    """A real network, opened once for many tests."""
    return opened(path, cache, kind)


def opened(path: Path | str, cache: Path, kind: Kind = Kind.BODY) -> Embedder:
    return open_embedder(str(path), cache, not_fetched, kind=kind)


def error_of(vector: F32, golden: Golden) -> float:
    """The largest difference from the golden numbers."""
    return max(abs(float(vector[place]) - number) for place, number in golden.numbers.items())


class Fed:
    """A network that is fed by another card than its own."""

    def __init__(self, path: Path, cache: Path, kind: Kind, change: Callable[[ModelCard], ModelCard]) -> None:
        self._network = real(path, cache, kind)._network
        self.card = change(self._network.card)
        self.fixed_size = self._network.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        return self._network.run(batch)


@pytest.mark.data
def test_a_drawn_picture_has_its_golden_vector(golden: Golden, data_dir: Path, cache: Path) -> None:
    path = needed(data_dir, golden.file)
    embedder = opened(path, cache, golden.kind)
    assert (embedder.model.kind, embedder.model.dimension) == (golden.kind, golden.dimension)
    vector = embedder.embed([golden.picture()])[0]
    assert error_of(vector, golden) < WITHIN
    assert abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) < 1e-6


MISTAKES: dict[str, Callable[[ModelCard], ModelCard]] = {
    "the other order of colours": lambda card: replace(card, colour={"rgb": "bgr", "bgr": "rgb"}[card.colour]),
    "another scale": lambda card: replace(card, scale=256.0 - card.scale),
    "no mean and deviation": lambda card: replace(card, mean=(), std=()),
    "a mean and deviation too many": lambda card: replace(
        card, scale=255.0, mean=tuple(2 * m for m in IMAGENET_MEAN), std=tuple(np.square(IMAGENET_STD))
    ),
}
# The Open Model Zoo's network has mean and deviation inside, and evens out those of its input by itself.
WRONG = [(f, mistake) for f in GOLDEN for mistake in list(MISTAKES)[: 2 if f == "omz-reid" else None]]


@pytest.mark.data
@pytest.mark.parametrize(("family", "mistake"), WRONG)
def test_a_network_that_is_fed_wrongly_misses_its_golden_vector(
    family: str, mistake: str, data_dir: Path, cache: Path
) -> None:
    golden = GOLDEN[family]
    network = Fed(needed(data_dir, golden.file), cache, golden.kind, MISTAKES[mistake])
    vector = Embedder(network, "wrong", "0" * 64).embed([golden.picture()])[0]
    assert error_of(vector, golden) > 5 * WITHIN


@pytest.mark.data
@pytest.mark.parametrize("how", ["letterboxed", "cut loosely", "nearest pixels"])
def test_a_picture_that_is_cut_or_bent_otherwise_misses_its_golden_vector(
    how: str, golden: Golden, data_dir: Path, cache: Path
) -> None:
    import cv2

    embedder = real(needed(data_dir, golden.file), cache, golden.kind)
    picture = golden.picture()
    size = (112, 112) if golden.kind is Kind.FACE else (256, 128)
    if how == "letterboxed":
        box = Letterbox.fit(picture.shape[0], picture.shape[1], size[0], size[1], rectangular=False)
        whole = np.full((*size, 3), 114, np.uint8)
        whole[box.top :, box.left :][: box.resized_height, : box.resized_width] = box.resize(picture)
    elif how == "cut loosely":
        rows, columns = (side // 8 for side in picture.shape[:2])
        whole = np.pad(picture, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    else:
        whole = np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST))
    assert error_of(embedder.embed([whole])[0], golden) > 5 * WITHIN


@pytest.mark.data
def test_on_the_cpu_a_row_depends_on_its_picture_alone(golden: Golden, data_dir: Path, cache: Path) -> None:
    embedder = real(needed(data_dir, golden.file), cache, golden.kind)
    pictures = [person(hue=9 * i, height=80 + 20 * i) for i in range(11)]
    alone = np.concatenate([embedder.embed([picture]) for picture in pictures])
    assert np.abs(embedder.embed(pictures) - alone).max() < 1e-6
    assert np.abs(embedder.embed(pictures[::-1])[::-1] - alone).max() < 1e-6


@pytest.mark.data
def test_a_model_of_the_catalog_says_how_it_is_fed(data_dir: Path, cache: Path) -> None:
    golden = GOLDEN["osnet"]
    path = needed(data_dir, golden.file)
    asked: list[str] = []

    def obtain(entry: Entry) -> Path:
        asked.append(entry.name)
        return path

    embedder = open_embedder("osnet-x0-25", cache, obtain)
    assert asked == ["osnet-x0-25"]
    assert (embedder.model.name, embedder.model.sha256) == ("osnet-x0-25", hash_file(path))
    assert error_of(embedder.embed([person()])[0], golden) < WITHIN


@pytest.mark.data
def test_a_file_that_is_told_what_it_is_needs_no_names_in_it(data_dir: Path, tmp_path: Path) -> None:
    golden = GOLDEN["osnet"]
    bare = without_names(needed(data_dir, golden.file), tmp_path / "bare.onnx")
    assert family_of_onnx(bare) == ""
    with pytest.raises(ModelError, match="gives a vector a picture, and nothing says how it is fed; add it") as caught:
        opened(bare, tmp_path)
    assert "\n" not in str(caught.value)
    told = open_embedder(str(bare), tmp_path, not_fetched, family="osnet")
    assert error_of(told.embed([person()])[0], golden) < WITHIN
    # And as a model that was added.
    file = tmp_path / "mine.onnx"
    shutil.copyfile(bare, file)
    card = ModelCard("osnet", "embed", (), (1,))
    added.store("mine", file, hash_file(file), "", Manifest("osnet"), card, tmp_path)
    entry_file = open_embedder("mine", tmp_path, lambda entry: tmp_path / entry.file)
    assert error_of(entry_file.embed([person()])[0], golden) < WITHIN
    model = onnx.load(file)
    model.doc_string = "changed"
    onnx.save(model, file)
    with pytest.raises(ModelError, match=r"its sha256 is .*, the manifest pins"):
        open_embedder("mine", tmp_path, lambda entry: tmp_path / entry.file)


@pytest.mark.data
def test_another_export_of_the_same_weights_is_fed_alike_and_never_compared(data_dir: Path, tmp_path: Path) -> None:
    """The catalog's file is another export than the one in the test data: other bytes, other names, one card."""
    ours = needed(data_dir, GOLDEN["osnet"].file)
    theirs = one_at_a_time(without_names(ours, tmp_path / "theirs.onnx"))
    first = open_embedder("osnet-x0-25", tmp_path, lambda _entry: ours)
    second = open_embedder("osnet-x0-25", tmp_path, lambda _entry: theirs)
    assert first._card == replace(second._card, batched=first._card.batched)
    people = [person(), person(hue=150), person(hue=30)]
    assert np.abs(first.embed(people) - second.embed(people)).max() < 1e-5
    assert first.model.sha256 != second.model.sha256
    line = r"^week\.npz holds vectors of osnet-x0-25 \(.*\), and vectors of another model file, osnet-x0-25 \(.*\),"
    with pytest.raises(ModelError, match=line) as caught:
        expect_same(second.model, first.model, "week.npz")
    assert str(caught.value).endswith("give that model's file, or extract week.npz again")
    # Given as a file it has no name that says what it is; what it is built like is told, and not believed.
    with pytest.raises(ModelError, match=r"nothing says how it is fed; .* \(it is built like osnet\)$"):
        opened(theirs, tmp_path)


def one_at_a_time(path: Path) -> Path:
    """Fixes a network to batches of one."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    return path


def test_a_model_is_found_by_its_bytes_and_its_folders_are_nobodys_business(tmp_path: Path) -> None:
    path = imported_osnet(tmp_path)
    model = opened(path, tmp_path).model
    assert model.name == "osnet.pth"
    with pytest.raises(UsageError, match=r"^vectors of osnet\.pth \(sha256 .*\), and no model known here is that"):
        known_as(model, tmp_path)
    (tmp_path / "broken.toml").write_text("no manifest")
    card = ModelCard("osnet", "embed", (), (1,))
    added.store("mine", path, model.sha256, "", Manifest(), card, tmp_path)
    assert known_as(model, tmp_path) == "mine"
    assert known_as(replace(model, sha256=Catalog.load()["osnet-x0-25"].sha256), tmp_path) == "osnet-x0-25"


def without_names(source: Path, target: Path) -> Path:
    """Writes a network whose parts are numbered, as some tools leave them."""
    model = onnx.load(source)
    names = {tensor.name: f"w{i}" for i, tensor in enumerate(model.graph.initializer)}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, target)
    return target


def imported_osnet(folder: Path) -> Path:
    path = folder / "osnet.pth"
    path.write_bytes(lzma.decompress(OSNET_OF_OURS.read_bytes()))
    return path


def test_a_checkpoint_is_imported_and_brings_its_own_scaling(tmp_path: Path) -> None:
    path = imported_osnet(tmp_path)
    embedder = opened(path, tmp_path)
    assert embedder.model.sha256 == hash_file(path)
    assert (embedder.model.kind, embedder.model.dimension) == (Kind.BODY, 64)
    vectors = embedder.embed([person(), person(hue=150)])
    assert vectors.shape == (2, 64)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.001
    # What was imported may be given as well: it says itself how it is fed.
    onnx_of_ours = import_checkpoint(path, tmp_path / "mine")
    assert np.array_equal(opened(onnx_of_ours, tmp_path).embed([person(), person(hue=150)]), vectors)


def test_a_changed_file_is_not_taken_for_the_model_of_a_gallery(tmp_path: Path) -> None:
    path = imported_osnet(tmp_path)
    model = opened(path, tmp_path).model
    open_embedder(str(path), tmp_path, not_fetched, expected=model)
    other = replace(model, sha256="0" * 64)
    with pytest.raises(ModelError, match=r"^week\.npz holds vectors of .* \(0{12}\), and vectors of another"):
        open_embedder(str(path), tmp_path, not_fetched, expected=other, expected_by="week.npz")
    wider = replace(other, dimension=512)
    with pytest.raises(ModelError, match=r"^the gallery holds .* 512 numbers a vector; .* gives 64; give that model's"):
        open_embedder(str(path), tmp_path, not_fetched, expected=wider)


def test_a_detector_describes_nothing(tmp_path: Path) -> None:
    tiny = write_tiny_model(tmp_path / "tiny.onnx")
    with pytest.raises(UsageError, match=r"tiny\.onnx: finds things in pictures and describes none; .* osnet-x0-25$"):
        opened(tiny, tmp_path)
    with pytest.raises(UsageError, match=r"^yolov8n: finds things .* describes a face, such as sface$"):
        opened("yolov8n", tmp_path, Kind.FACE)


@pytest.mark.data
def test_real_detectors_and_classifiers_describe_nothing(data_dir: Path, cache: Path) -> None:
    for file in ("yolox_nano.onnx", "scrfd_500m_bnkps.onnx", "age-gender-0013-int8.xml"):
        with pytest.raises(UsageError, match=f"{file}: finds things in pictures and describes none"):
            opened(needed(data_dir, file), cache)


@pytest.mark.data
def test_a_face_model_describes_no_bodies(data_dir: Path, cache: Path) -> None:
    with pytest.raises(UsageError, match=r"describes a face; name a model that describes a body, such as osnet-x0-25$"):
        opened(needed(data_dir, "mobilefacenet.onnx"), cache)
    with pytest.raises(UsageError, match=r"describes a body; name a model that describes a face, such as sface$"):
        opened(needed(data_dir, "osnet_x0_25_msmt17.onnx"), cache, Kind.FACE)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.onnx", b"\x08\x07\x12\x04", r"cut\.onnx: .*"),
        ("empty.onnx", b"", r"empty\.onnx: .*"),
        ("cut.pth", b"PK\x03\x04", r"cut\.pth: .*"),
        ("cut.xml", b"<net", r"cut\.xml: .*"),
    ],
)
def test_a_damaged_file_is_one_clear_line(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        opened(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_names_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'osnet-x0-25'"):
        opened("osnet-x0", tmp_path)
    with pytest.raises(ModelError, match=r"^no such file: none\.onnx"):
        opened("none.onnx", tmp_path)
    with pytest.raises(UsageError, match="is a clip, not a model"):
        opened("bikes", tmp_path)


@pytest.mark.data
def test_what_is_said_of_a_file_must_fit_it(data_dir: Path, tmp_path: Path) -> None:
    path = str(needed(data_dir, "osnet_x0_25_msmt17.onnx"))
    with pytest.raises(UsageError, match=r"^family 'reid': want one of osnet, omz-reid, mobilefacenet, sface$"):
        open_embedder(path, tmp_path, not_fetched, family="reid")
    with pytest.raises(ModelError, match="a sface model sees faces of 112x112; this one's input is 256x128"):
        open_embedder(path, tmp_path, not_fetched, family="sface")


def test_the_catalogs_describing_models_say_what_they_are() -> None:
    entries = [entry for entry in Catalog.load() if entry.task == "embed"]
    assert {entry.name for entry in entries} == {"osnet-x0-25", "sface"}
    assert all(entry.said.family == entry.family for entry in entries)
