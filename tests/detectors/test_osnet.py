"""OSNet, known by its weights alone: all of them, each of the right shape, and no other."""

from __future__ import annotations

import lzma
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.command import watchline
from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made
from watchline.detectors.card import ModelCard
from watchline.detectors.importer.checkpoint import Checkpoint, Tensor
from watchline.detectors.importer.convert import describe, import_checkpoint
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.network import build
from watchline.detectors.importer.selfcheck import check
from watchline.streams.errors import ModelError

EMBEDDERS = Path(__file__).parents[1] / "parity" / "embedders"
FORMS = ("osnet", "osnet-ain", "osnet-ibn")


@cache
def weights(form: str = "osnet") -> dict[str, NDArray[np.float64]]:
    """Weights by name, of a network that its authors' code built."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "osnet.pth"
        path.write_bytes(lzma.decompress((EMBEDDERS / f"{form}.pth.xz").read_bytes()))
        with Checkpoint(path) as checkpoint:
            assert isinstance(checkpoint.root, dict)
            tensors: dict[str, Tensor] = checkpoint.root["state_dict"]
            return {name: checkpoint.numbers(tensor) for name, tensor in tensors.items()}


def saved(path: Path, value: object) -> Path:
    path.write_bytes(checkpoints.checkpoint(value))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "osnet.pth"


def refusal(path: Path) -> str:
    """Why the checkpoint at `path` cannot be imported; found in this process, which takes no time."""
    with Checkpoint(path) as checkpoint, pytest.raises(ModelError, match=rf"^{path.name}: ") as caught:
        build(checkpoint, None)
    return str(caught.value).removeprefix(f"{path.name}: ")


def features(model: Path) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[2:]
    picture = np.random.default_rng(4).random((1, 3, height, width), np.float32)
    return np.asarray(session.run(None, {"images": picture})[0])


@pytest.mark.parametrize("form", FORMS)
def test_an_osnet_is_described_by_its_weights(form: str, path: Path) -> None:
    found = describe(saved(path, weights(form)))
    assert (found.family, found.task, found.labels, found.strides) == ("osnet", "embed", (), (16,))
    assert found.input == ("batch", "3", "256", "128")
    assert found.parameters == 111_984 + 256 * (form == "osnet-ibn")
    assert not found.supported
    assert "an embedding network (osnet): it tells people apart, and finds none by itself" in found.reason


def test_what_is_imported_says_what_it_is(path: Path, tmp_path: Path) -> None:
    made = import_checkpoint(saved(path, weights()), tmp_path / "cache")
    model = onnx.load(made)
    card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    assert (card.family, card.task, card.labels, card.strides) == ("osnet", "embed", (), (16,))
    assert (card.source_name, card.placement, card.scale) == ("osnet.pth", "stretch", 255.0)
    assert [node.op_type for node in model.graph.node][:2] == ["Sub", "Div"]
    described = describe(made)
    assert (described.format, described.family, described.supported) == ("onnx", "osnet", False)


def test_another_size_may_be_asked_for(path: Path, tmp_path: Path) -> None:
    saved(path, weights())
    assert features(import_checkpoint(path, tmp_path, (64, 32))).shape == (1, 64)
    with pytest.raises(ModelError, match=r"^osnet\.pth: size 100x50 is not a multiple of 16"):
        import_checkpoint(path, tmp_path, (100, 50))


@pytest.mark.parametrize("form", FORMS)
def test_the_classifier_and_the_counters_change_nothing(form: str, path: Path, tmp_path: Path) -> None:
    whole = weights(form)
    bare = {
        name: array
        for name, array in whole.items()
        if not name.startswith("classifier.") and not name.endswith("num_batches_tracked")
    }
    assert len(bare) < len(whole) - 10
    first = features(import_checkpoint(saved(path, whole), tmp_path))
    assert np.array_equal(first, features(import_checkpoint(saved(path, bare), tmp_path)))


@pytest.mark.parametrize(
    "value",
    [
        lambda w: w,
        lambda w: {"module." + name: array for name, array in w.items()},
        lambda w: {"state_dict": w, "epoch": 60},
        lambda w: {
            "state_dict": {"module." + name: array for name, array in w.items()},
            "rank1": Made("numpy.core.multiarray.scalar", (Made("numpy.dtype", ("f8", False, True), {}), "12345678")),
            "scheduler": {"milestones": Made("collections.Counter", ({},)), "step": Made("os.system", ("exit 1",))},
        },
    ],
    ids=["bare", "several GPUs", "with the epoch", "with numbers of NumPy and code"],
)
def test_however_a_trainer_wraps_them_they_are_read(value: object, path: Path, tmp_path: Path) -> None:
    assert callable(value)
    plain = features(import_checkpoint(saved(path, weights()), tmp_path))
    assert np.array_equal(plain, features(import_checkpoint(saved(path, value(weights())), tmp_path)))


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_weight_is_refused_by_name(form: str, path: Path) -> None:
    found = refusal(saved(path, weights(form) | {"conv3.0.attention.weight": np.zeros(3)}))
    assert found == "unknown weight 'conv3.0.attention.weight' (1 in all)"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["conv1.bn.weight", "conv3.1.gate.fc2.bias", "conv4.0.downsample.conv.weight", "fc.1.bias"]
)
def test_a_missing_weight_is_refused_by_name(form: str, name: str, path: Path) -> None:
    rest = {key: array for key, array in weights(form).items() if key != name}
    assert refusal(saved(path, rest)) == f"weight {name} is missing"


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_must_have_its_shape(form: str, path: Path) -> None:
    ignored = ("num_batches_tracked", "classifier.weight", "classifier.bias")
    names = [name for name in weights(form) if not name.endswith(ignored)]
    for name in names[::7]:
        array = weights(form)[name]
        found = refusal(saved(path, weights(form) | {name: np.concatenate([array, array])}))
        assert re.fullmatch(r"weight \S+ (has shape .*|is missing)", found), name


def test_weights_of_another_network_are_refused(path: Path) -> None:
    saved(path, {"state_dict": {"layer1.0.conv1.weight": np.zeros((8, 8, 3, 3))}})
    with pytest.raises(ModelError, match=r"holds weights \(a state_dict\) but no network"):
        describe(path)


def test_a_network_too_narrow_for_its_gate_is_refused(path: Path) -> None:
    first, last = "conv2.0.conv1", "conv2.0.conv3.conv.weight"
    narrow = {name: array[:8] for name, array in weights().items() if name.startswith(first) and array.ndim}
    found = refusal(saved(path, weights() | narrow | {last: np.zeros((32, 8, 1, 1))}))
    assert found == "conv2.0.gate has 8 channels, fewer than 16"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("fc.0.bias", np.nan, "answers a grey picture with infinite or undefined numbers"),
        ("fc.1.weight", 0.0, "answers a grey and a noisy picture with the same features"),
        ("conv5.bn.running_var", -1.0, "weight conv5.bn.running_var is not positive"),
    ],
)
def test_weights_that_lead_to_nonsense_are_refused(
    name: str, value: float, reason: str, path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=reason):
        import_checkpoint(saved(path, weights() | {name: np.full_like(weights()[name], value)}), tmp_path)


def test_the_self_check_notices_features_of_another_width(path: Path, tmp_path: Path) -> None:
    model = import_checkpoint(saved(path, weights()), tmp_path, (64, 32)).read_bytes()
    with pytest.raises(ModelError, match=r"self-check: its answer has shape \(1, 64\), expected \(1, 512\)"):
        check(model, ModelCard("osnet", "embed", (), (16,)), Head(0, (16,), features=512), (64, 32))


def test_a_run_says_what_such_a_network_is_for(clip: Path, path: Path, tmp_path: Path) -> None:
    done = watchline(
        "run", clip, "--model", saved(path, weights()), "--cache", tmp_path / "cache", "--out", tmp_path / "out"
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "an embedding network (osnet): it tells people apart, and finds none by itself" in done.stderr
    assert not (tmp_path / "out").exists()
