"""A checkpoint is read as data: nothing in it runs, and nothing in it can take the machine down."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Made
from watchline.detectors.importer.archive import Limits
from watchline.detectors.importer.checkpoint import Checkpoint, Tensor
from watchline.detectors.importer.network import build, count_parameters, network_of
from watchline.detectors.importer.pickled import PickleError, Record, load
from watchline.streams.errors import ModelError


def root_of(path: Path, data: bytes, limits: Limits | None = None) -> object:
    path.write_bytes(data)
    with Checkpoint(path, limits) as checkpoint:
        return checkpoint.root


def load_plain(data: bytes) -> object:
    return load(data, {}, lambda args: args, Limits())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pt"


# --- what is read ---


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
    st.sampled_from([3, 4, 5]),  # protocol 2 has no bytes: it calls a function for them, and nothing is called here
)
@settings(deadline=None)
def test_plain_data_comes_back_as_it_was(value: object, protocol: int) -> None:
    assert load_plain(pickle.dumps(value, protocol)) == value


def milestones() -> dict[str, object]:
    """What a trainer notes beside the weights: numbers of NumPy's own, counters, times, paths."""
    return {
        "rank1": np.float64(0.91),
        "mAP": np.float32(0.75),
        "epoch": np.int64(60),
        "cmc": np.linspace(0, 1, 20),
        "names": np.array(["a", "b"], object),
        "dtype": np.dtype(np.float16),
        "random": np.random.default_rng(1),
        "milestones": Counter({20: 1, 40: 1}),
        "by camera": defaultdict(list, {(0, "dock"): [1.5], np.int64(3): [2.5]}),
        "ordered": OrderedDict(a=1),
        "when": datetime(2026, 5, 4, tzinfo=UTC),
        "path": PurePosixPath("log/model"),
        "options": Namespace(lr=0.1),
        "bytes": bytearray(b"abc"),
        "complex": 1j,
        "set": {1, 2},
        "function": os.getcwd,
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_a_trainer_notes_stays_inert_and_is_no_reason_to_fail(protocol: int) -> None:
    found = load_plain(pickle.dumps(milestones(), protocol))
    assert isinstance(found, dict)
    assert list(found) == list(milestones())
    for name in ("rank1", "mAP", "epoch", "cmc", "milestones", "when", "random"):
        assert isinstance(found[name], Record), name
    assert found["rank1"].name in ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")


def test_an_ordered_dict_that_python_2_wrote_is_read(path: Path) -> None:
    pairs = Made("collections.OrderedDict", ([["a", 1], ["b", [2]]],))
    assert root_of(path, checkpoints.checkpoint(pairs)) == {"a": 1, "b": [2]}
    for odd in ([["a"]], [[["a"], 1]], "ab", [1]):
        with pytest.raises(ModelError, match="an OrderedDict is "):
            root_of(path, checkpoints.checkpoint(Made("collections.OrderedDict", (odd,))))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_a_tensor_comes_back_with_its_numbers_whatever_their_order(dtype: str, path: Path) -> None:
    numbers = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path.write_bytes(checkpoints.checkpoint({"a": numbers, "b": numbers[0]}))
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        for name, expected in (("a", numbers), ("b", numbers[0])):
            tensor = checkpoint.root[name]
            assert isinstance(tensor, Tensor)
            np.testing.assert_array_equal(checkpoint.numbers(tensor), expected)


def test_a_bfloat16_tensor_is_read(path: Path) -> None:
    numbers = np.array([1.5, -2.0, 0.15625], np.float32)
    data = checkpoints.checkpoint(numbers)
    halves = (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    path.write_bytes(checkpoints.archive(_pickle_of(data).replace(b"FloatStorage", b"BFloat16Storage"), [halves]))
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Tensor)
        np.testing.assert_array_equal(checkpoint.numbers(checkpoint.root), numbers)


def _pickle_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read("net/data.pkl")


# --- what never runs ---


class Payload:
    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_no_function_that_a_pickle_names_is_called(protocol: int, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    payloads = [
        Payload(__import__("os").system, f"touch {sentinel}"),
        Payload(eval, f"open({str(sentinel)!r}, 'w')"),
        Payload(exec, f"open({str(sentinel)!r}, 'w')"),
        Payload(open, str(sentinel), "w"),
        Payload(__import__, "antigravity"),
        Payload(getattr, "a", "upper"),
        Payload(Path(sentinel).touch),
    ]
    for payload in payloads:
        data = pickle.dumps({"model": payload}, protocol)
        root = root_of(tmp_path / "net.pt", checkpoints.archive(data))
        assert isinstance(root, dict)
        assert isinstance(root["model"], Record)
    assert not sentinel.exists()


def test_a_refused_payload_is_named(path: Path) -> None:
    path.write_bytes(checkpoints.checkpoint({"model": Made("os.system", ("reboot",), {"a": 1})}))
    with Checkpoint(path) as checkpoint, pytest.raises(ModelError, match=r"class os\.system is not supported"):
        build(checkpoint, None)


def test_nothing_hides_behind_a_made_object_that_is_called_again(path: Path) -> None:
    data = b"\x80\x02cbuiltins\ngetattr\n(cos\nsystem\nX\x01\x00\x00\x00atR(X\x04\x00\x00\x00echotR."
    root = root_of(path, checkpoints.archive(data))
    assert isinstance(root, Record)
    assert root.name == "builtins.getattr"


# --- what is not a checkpoint ---


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG picture"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (struct.pack("<Q", 60) + b'{"__metadata__"', "a safetensors file"),
        (b"\x08\x08\x12\x07pytorch", "probably an ONNX model"),
        (b"\x80\x04\x95", "a plain pickle"),
        (bytes(100), "of an unknown format"),
    ],
)
def test_another_kind_of_file_is_named(data: bytes, what: str, path: Path) -> None:
    with pytest.raises(ModelError, match=f"net.pt: not a torch checkpoint: it is {what}"):
        root_of(path, data)


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def test_another_zip_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match=r"zip archive without a data\.pkl"):
        root_of(path, zip_of({"word/document.xml": b"<x/>", "a/b/data.pkl": b"N."}))


def test_a_torchscript_archive_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match="holds a TorchScript archive"):
        root_of(path, zip_of({"net/data.pkl": b"\x80\x02N.", "net/code/__torch__.py": b"", "net/constants.pkl": b""}))


def test_bare_weights_are_refused(path: Path) -> None:
    for value in ({"model.0.weight": np.zeros(3, np.float32)}, {"model": {"a": np.zeros(3, np.float32)}}):
        path.write_bytes(checkpoints.checkpoint(value))
        with Checkpoint(path) as checkpoint, pytest.raises(ModelError, match="state_dict"):
            build(checkpoint, None)


def test_a_missing_file_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.pt: No such file"):
        Checkpoint(path)


# --- what is damaged or hostile ---


def converted(path: Path) -> bool:
    """Returns whether the whole way through the importer ends in a network, False where it ends in a refusal."""
    try:
        with Checkpoint(path) as checkpoint:
            count_parameters(network_of(checkpoint))
            build(checkpoint, None)
    except ModelError as error:
        assert str(error).startswith("net.pt: ")
        assert "\n" not in str(error)
        return False
    return True


def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    whole = checkpoints.checkpoint({"model": checkpoints.small_network()})
    path.write_bytes(whole)
    assert converted(path)
    for length in [*range(0, len(whole) - 1, 1009), *range(len(whole) - 60, len(whole), 7)]:
        path.write_bytes(whole[:length])
        assert not converted(path)


NETWORK = checkpoints.Writer()
NETWORK_PICKLE = NETWORK.pickle({"model": checkpoints.small_network()})


@given(st.lists(st.tuples(st.integers(0, len(NETWORK_PICKLE) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_changed_bytes_in_the_pickle_convert_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(NETWORK_PICKLE)
    for at, new in changes:
        data[at : at + 1] = new
    path = tmp_path_factory.getbasetemp() / "net.pt"
    path.write_bytes(checkpoints.archive(bytes(data), NETWORK.storages))
    converted(path)


WHOLE = checkpoints.archive(NETWORK_PICKLE, NETWORK.storages)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_changed_bytes_in_the_file_convert_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(WHOLE)
    for at, new in changes:
        data[at : at + 1] = new
    path = tmp_path_factory.getbasetemp() / "net.pt"
    path.write_bytes(bytes(data))
    converted(path)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_never_more_than_a_refusal(data: bytes) -> None:
    try:
        load_plain(b"\x80\x02" + data)
    except PickleError as error:
        assert "\n" not in str(error)


HOSTILE = {
    "a tuple in a tuple, a million deep": b"N" + b"\x85" * 1_000_000,
    "such a tuple as key": b"}N" + b"\x85" * 1_000_000 + b"Ns",
    "lists in lists": b"(" * 100_000,
    "marked lists in lists": b"](" * 100_000,
    "a memo that doubles": b"N" + b"2\x86q\x00h\x00" * 50,
    "each tuple twice in the next": b"Nq\x00" + b"0h\x00h\x00\x86q\x00" * 100_000,
    "a memo index of four billion": b"Nr\xff\xff\xff\xff",
    "a text of four gigabytes": b"X\xff\xff\xff\xffabc",
    "a text of 2**62 bytes": b"\x8d" + struct.pack("<Q", 1 << 62) + b"abc",
    "bytes of 2**63 bytes": b"\x8e" + struct.pack("<Q", 1 << 63) + b"abc",
    "a byte array of a terabyte": b"\x96" + struct.pack("<Q", 1 << 40) + b"abc",
    "a number of two gigabytes": b"\x8b\xff\xff\xff\x7f1",
    "a number of negative length": b"\x8b\xff\xff\xff\xff1",
    "a decimal number without end": b"I" + b"9" * 100_000 + b"\n",
    "a list as key": b"}]Ns",
    "a tuple of many parts as key": b"}(" + b"N" * 9 + b"tNs",
    "an odd number of items": b"}(Nu",
    "items on a number": b"K\x01(NNu",
    "a state on a list": b"]}b",
    "a call of a number": b"K\x01)R",
    "a call without a tuple": b"cos\nsystem\n]R",
    "a class made with keywords": b"ca\nb\n)}Ns\x92",
    "an unknown persistent id": b"NQ",
    "a text persistent id": b"Pos\n",
    "a name with a line break": b"\x8c\x02osq\x00\x8c\x05a\nb c\x93",
    "a name of numbers": b"K\x01K\x02\x93",
    "an extension": b"\x82\x01",
    "the old way to make an object": b"(cos\nsystem\no",
    "pop from nothing": b"0",
    "pop beyond a mark": b"N(0",
    "nothing": b"",
    "two values": b"NN",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_plain_data_or_refused(name: str, path: Path) -> None:
    harmless = {"a tuple in a tuple, a million deep", "each tuple twice in the next", "a memo index of four billion"}
    data = checkpoints.archive(b"\x80\x02" + HOSTILE[name] + b".")
    if name in harmless:
        root_of(path, data)
    else:
        with pytest.raises(ModelError, match=r"net\.pt: its data\.pkl cannot be read: "):
            root_of(path, data)


def test_a_list_that_contains_itself_is_plain_data(path: Path) -> None:
    root = root_of(path, checkpoints.archive(b"\x80\x02]q\x00h\x00a."))
    assert isinstance(root, list) and root[0] is root


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(file_bytes=1000), "larger than 1,000 bytes"),
        (Limits(members=5), "at most 5 are read"),
        (Limits(pickle_bytes=1000), r"data\.pkl of more than 1,000 bytes"),
        (Limits(operations=1000), "more than 1,000 operations"),
        (Limits(depth=3), "nested deeper than 3"),
        (Limits(tensor_bytes=10_000), "its tensors take more than 10,000 bytes"),
        (Limits(nodes=30), "too large"),
    ],
)
def test_more_than_a_limit_is_refused(limits: Limits, reason: str, path: Path) -> None:
    path.write_bytes(WHOLE)
    with pytest.raises(ModelError, match=reason), Checkpoint(path, limits) as checkpoint:
        build(checkpoint, None)


def test_a_zip_bomb_is_refused_unopened(path: Path) -> None:
    with pytest.raises(ModelError, match=r"compresses its member 'net/data\.pkl'"):
        root_of(path, checkpoints.archive(b"\x80\x02" + bytes(10_000_000), compression=zipfile.ZIP_DEFLATED))


def test_members_that_share_their_bytes_are_refused(path: Path) -> None:
    """An overlap bomb: each entry of the directory points at the same data."""
    data = zip_of({"net/data.pkl": b"\x80\x02N.", "net/data/0": bytes(1000)})
    directory = data.rindex(b"PK\x01\x02")
    entry, end = data[directory : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    copies = b"".join(entry.replace(b"net/data/0", f"net/data/{n}".encode()) for n in range(1, 10))
    start, count, size = data.index(b"PK\x01\x02"), 11, directory - data.index(b"PK\x01\x02") + len(entry) * 10
    tail = end[:8] + struct.pack("<HHII", count, count, size, start) + end[20:]
    with pytest.raises(ModelError, match=r"more data than the file holds|truncated or damaged"):
        root_of(path, data[: directory + len(entry)] + copies + tail)


def test_two_members_of_one_name_are_refused(path: Path) -> None:
    data = zip_of({"net/data.pkl": b"\x80\x02N.", "net/data.pkk": b"\x80\x02N."})
    with pytest.raises(ModelError, match="two members of the same name"):
        root_of(path, data.replace(b"data.pkk", b"data.pkl"))


def test_names_that_climb_out_of_the_folder_are_only_names(tmp_path: Path) -> None:
    data = zip_of({"net/data.pkl": b"\x80\x02N.", "../../climbed": b"x", "/absolute": b"x"})
    assert root_of(tmp_path / "net.pt", data) is None
    assert [child.name for child in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "reason"),
    [
        (0, (7,), (1,), "does not fit its storage"),
        (4, (3,), (1,), "does not fit its storage"),
        (0, (3,), (3,), "does not fit its storage"),
        (0, (1 << 39, 1 << 39), (0, 0), "does not fit its storage"),
        (0, (100,), (0,), "does not fit its storage"),
        (0, (2,), (-1,), "broken shape"),
        (-1, (2,), (1,), "broken shape"),
        (0, (-2,), (1,), "broken shape"),
        (0, (2, 2), (1,), "broken shape"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...], reason: str, path: Path
) -> None:
    numbers = np.arange(6, dtype=np.float32)
    writer = checkpoints.Writer()
    part = writer.value(numbers)
    storage = part[: part.index(b"Q") + 1]
    rest = writer.value((offset, shape, stride, False))[1:]
    path.write_bytes(checkpoints.archive(b"\x80\x02" + storage + rest + b"R.", writer.storages))
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Tensor)
        with pytest.raises(PickleError, match=reason):
            checkpoint.numbers(checkpoint.root)


@pytest.mark.parametrize("shape", [(1 << 41,), (1,) * 9, ("a",)])
def test_a_shape_of_nonsense_is_refused(shape: tuple[object, ...], path: Path) -> None:
    size = Made("torch.Size", (shape,))
    with pytest.raises(ModelError, match="a shape is not a short list of numbers"):
        root_of(path, checkpoints.checkpoint(size))


def test_a_storage_of_another_length_is_refused(path: Path) -> None:
    writer = checkpoints.Writer()
    data = writer.pickle(np.arange(6, dtype=np.float32))
    path.write_bytes(checkpoints.archive(data, [writer.storages[0][:-4]]))
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Tensor)
        with pytest.raises(PickleError, match="has 20 bytes, not 6 numbers"):
            checkpoint.numbers(checkpoint.root)


def test_flipped_bits_in_the_weights_are_noticed(path: Path) -> None:
    weights = np.arange(1000, dtype=np.float32)
    data = checkpoints.checkpoint(weights)
    at = data.index(weights.tobytes())
    path.write_bytes(data[: at + 100] + bytes([data[at + 100] ^ 4]) + data[at + 101 :])
    with Checkpoint(path) as checkpoint:
        assert isinstance(checkpoint.root, Tensor)
        with pytest.raises(ModelError, match="truncated or damaged in its member data/0"):
            checkpoint.numbers(checkpoint.root)
