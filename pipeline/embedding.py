"""From the name or file that a user gives to an `Embedder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from watchline.detectors.added import added, find
from watchline.detectors.card import ModelCard
from watchline.detectors.catalog import Catalog, Entry
from watchline.detectors.embedder_cards import EMBEDDERS, built_like, family_of_onnx, family_of_outputs
from watchline.detectors.gpu import has_provider
from watchline.detectors.importer.description import hash_model, is_ir
from watchline.detectors.importer.ir import Ir
from watchline.detectors.onnx_header import read_header
from watchline.detectors.opening import open_engine
from watchline.pipeline.model import find_model, imports, label_of, network_of
from watchline.reid.embedder import Embedder, expect_same
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.streams.errors import ModelError, UsageError

DEFAULTS: Final[Mapping[Kind, str]] = {Kind.BODY: "osnet-x0-25", Kind.FACE: "sface"}


def open_embedder(
    name: str,
    cache: Path,
    obtain: Callable[[Entry], Path],
    device: str = "auto",
    kind: Kind = Kind.BODY,
    *,
    family: str = "",
    workers: int = 1,
    expected: EmbeddingModel | None = None,
    expected_by: str = "the gallery",
) -> Embedder:
    """Returns what describes people by the model that `name` means.

    Args:
        name: catalog name, name of an added model, or path of an .onnx, .pt, .pth or .xml (OpenVINO) file.
        cache: folder of fetched files; what is imported is kept below it.
        obtain: brings the file of a catalog entry.
        device: as of `open_engine`; but "auto" is CUDA where it starts, else the CPU in float32. Vectors are kept, and
            compared with those of other days and machines: one that computes in bfloat16 by itself would add its
            errors to theirs.
        kind: what of a person it must describe.
        family: how the network is fed, one of `EMBEDDERS`, where its file does not say it.
        workers: most calls at once.
        expected: whose vectors its own will be compared with, where that is known; anything else is refused.
        expected_by: what holds those vectors, for the message.

    Raises:
        UsageError: neither a file nor a model; one that finds things, or describes another kind; or the device is not
            there.
        ModelError: it cannot be had, trusted, imported or run; nobody says how it is fed; or it is not `expected`.
        OutputError: the cache cannot be written.
    """
    if family not in ("", *EMBEDDERS):
        raise UsageError(f"family {family!r}: want one of {', '.join(EMBEDDERS)}")
    found = find_model(name, cache, lambda entry: obtain(_describing(entry, kind)))
    if family:
        found = replace(found, said=replace(found.said, family=family))
    sha256 = hash_model(found.path)
    network = network_of(found, imports(cache))
    told = family if network == found.path else ""
    engine = open_engine(network, _devices(device, network), told or _family(name, network, kind), workers)
    if engine.card.task != "embed":
        raise _finds(name, kind)
    embedder = Embedder(engine, label_of(name), sha256)
    if embedder.model.kind is not kind:
        raise UsageError(f"{name}: describes a {embedder.model.kind}; {_advice(kind)}")
    if expected:
        expect_same(embedder.model, expected, expected_by)
    return embedder


def known_as(model: EmbeddingModel, cache: Path) -> str:
    """Returns the name, of the catalog or of an added model, under which the file that made vectors can be had here.

    By its SHA-256 alone: what vectors say of their model's name, anybody may have written.

    Raises:
        UsageError: there is none.
    """
    names = [*(entry.name for entry in Catalog.load()), *added(cache)]
    for name in names:
        with suppress(ModelError):  # what spoils the manifest of one says nothing of the others
            if find(name, cache).sha256 == model.sha256:
                return name
    raise UsageError(
        f"vectors of {model.name} (sha256 {model.sha256[:12]}), and no model known here is that file; give it with "
        "--model FILE, or extract them again by one that is"
    )


def _describing(entry: Entry, kind: Kind) -> Entry:
    """Returns a model of the catalog that describes; others are refused before they are fetched."""
    if entry.task != "embed":
        raise _finds(entry.name, kind)
    return entry


def _finds(name: str, kind: Kind) -> UsageError:
    return UsageError(f"{name}: finds things in pictures and describes none; {_advice(kind)}")


def _advice(kind: Kind) -> str:
    return f"name a model that describes a {kind}, such as {DEFAULTS[kind]}"


def _devices(device: str, network: Path) -> str:
    """Returns the devices that `device` stands for where "auto" must be none that rounds by itself."""
    by_itself = "cuda,cpu" if has_provider("cuda") else "cpu"
    names = [name.strip().lower() for name in device.split(",")]
    if is_ir(network):
        return ",".join("openvino-f32" if name in ("auto", "cpu") else name for name in names)
    return ",".join(by_itself if name == "auto" else name for name in names)


def _family(name: str, network: Path, kind: Kind) -> str:
    """Returns what the network is, as the names in it tell; "" where its file says it by itself.

    Raises:
        UsageError: it gives no vectors.
        ModelError: it does, but how it is to be fed, nothing tells.
    """
    alike = ""
    if is_ir(network):
        shapes = Ir(network).outputs()
        family = family_of_outputs(shapes)
    else:
        header = read_header(network)
        if ModelCard.is_in(header.metadata):
            return ""
        shapes = {value.name: value.shape for value in header.outputs}
        family = family_of_onnx(network)
        alike = built_like(network)
    if family:
        return family
    if [len(shape) for shape in shapes.values()] != [2]:
        raise _finds(name, kind)
    raise ModelError(
        f"{name}: gives a vector a picture, and nothing says how it is fed; add it with what it is, "
        f"`watchline models add FILE --name NAME --family` {', '.join(EMBEDDERS)}"
        f"{f' (it is built like {alike})' * bool(alike)}"
    )
