"""Embedder: from pictures of people or faces to the vectors that describe them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.reid.align import align
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.tracklet import Crop
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import U8

# Beyond it a batch falls out of the caches of a CPU; below it a GPU is left idle.
BATCH: Final = 8


class EmbeddingNetwork(Protocol):
    """Runs a network that gives a vector a picture. `detectors.engine.Engine` is one."""

    @property
    def card(self) -> ModelCard:
        """How its input is fed."""

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width of its input, pixels."""

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns its outputs for `batch` (N, 3, H, W) float32; the first is (N, D) float32."""


class Embedder:
    """Describes pictures by vectors. Safe to call from several threads at once, as its network is.

    A picture is bent to the network's size, and fed as its card says. Row i of what comes out depends on picture i
    alone, to 1e-6 on the CPU: batches of other sizes may be summed up in another order.

    Args:
        network: gives the vectors.
        name: of the model, as the user said it.
        sha256: of the model's file.
        batch: most pictures a call of the network.

    Raises:
        ModelError: the network finds things instead of comparing them, takes pictures of any size, or its answer to a
            trial picture is no vector.
    """

    def __init__(self, network: EmbeddingNetwork, name: str, sha256: str, batch: int = BATCH) -> None:
        self._network = network
        self._name = name
        self._card = card = network.card
        if card.task != "embed":
            raise ModelError(f"{name}: finds things in pictures and describes none; name a model such as osnet-x0-25")
        if network.fixed_size is None:
            raise ModelError(f"{name}: takes pictures of any size; export it with its size fixed, such as 256x128")
        self._height, self._width = network.fixed_size
        self._batch = batch
        self._tables = _tables(card)
        self._scratch = threading.local()
        kind = Kind.FACE if card.keypoints[0] else Kind.BODY
        self._model = EmbeddingModel(name, sha256, kind, self._dimension())

    @property
    def model(self) -> EmbeddingModel:
        """What makes the vectors."""
        return self._model

    def embed(self, crops: Sequence[U8]) -> F32:
        """Returns one vector a picture, (N, D) float32, each of length 1; (0, D) for none.

        Args:
            crops: (H, W, 3) uint8 RGB each, of any size; of a face network, aligned faces.

        Raises:
            ModelError: the network failed, or what it gives for a picture has no direction.
            ValueError: what is no picture is among them.
        """
        vectors = np.empty((len(crops), self._model.dimension), np.float32)
        for start in range(0, len(crops), self._batch):
            part = crops[start : start + self._batch]
            batch = self._input()[: len(part)]
            for item, rgb in zip(batch, part, strict=True):
                self._feed(rgb, item)
            vectors[start : start + len(part)] = self._unit(self._run(batch), start)
        return vectors

    def embed_faces(self, crops: Sequence[Crop]) -> F32:
        """Returns one vector a face, (N, D) float32, each of length 1; (0, D) for none.

        Args:
            crops: pictures of faces with their five landmarks, by which they are aligned.

        Raises:
            ModelError: as of `embed`; or the landmarks of one do not span a face.
            UsageError: the model is not one of faces.
        """
        if self._model.kind is not Kind.FACE:
            raise UsageError(f"{self._name}: describes bodies, not faces; name a face model, such as sface")
        return self.embed([align(crop.rgb, crop.landmarks) for crop in crops])

    def _dimension(self) -> int:
        """Returns how many numbers a vector has: those of a picture of slopes."""
        picture = np.zeros((self._height, self._width, 3), np.uint8)
        picture[..., 0] = np.linspace(0, 255, self._height)[:, None]
        picture[..., 1] = np.linspace(255, 0, self._width)
        picture[self._height // 3 :, self._width // 4 :, 2] = 200
        batch = self._input()[:1]
        self._feed(picture, batch[0])
        answer = self._answer(batch)
        if answer.ndim != 2 or len(answer) != 1 or not answer.size:
            raise ModelError(
                f"{self._name}: answers one picture with {_shown(answer.shape)} numbers, expected one vector"
            )
        return len(self._unit(answer, 0)[0])

    def _input(self) -> F32:
        """Returns room for a batch, the calling thread's own: fresh megabytes a batch would cost more."""
        if not hasattr(self._scratch, "input"):
            self._scratch.input = np.empty((self._batch, 3, self._height, self._width), np.float32)
        array: F32 = self._scratch.input
        return array

    def _feed(self, rgb: U8, out: F32) -> None:
        """Writes a picture (H, W, 3) uint8 into `out` (3, height, width) float32, as the card says."""
        import cv2

        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ValueError(f"want a picture (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
        size = (self._width, self._height)
        resized = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_LINEAR)
        channels = [np.asarray(channel, np.uint8) for channel in cv2.split(resized)]
        for channel, table, plane in zip(_ordered(channels, self._card), self._tables, out, strict=True):
            cv2.LUT(channel, table, plane)

    def _run(self, batch: F32) -> F32:
        """Returns what the network answers for `batch` (N, 3, height, width): (N, D)."""
        answer = self._answer(batch)
        wanted = (len(batch), self._model.dimension)
        if answer.shape != wanted:
            shape = f"{_shown(answer.shape)} numbers, expected {_shown(wanted)}"
            raise ModelError(f"{self._name}: answers {len(batch)} pictures with {shape}")
        return answer

    def _answer(self, batch: F32) -> F32:
        try:
            return self._network.run(batch)[0]
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from error

    def _unit(self, answer: F32, first: int) -> F32:
        """Returns the rows of `answer` (N, D) scaled to length 1; `first` is the number of the first picture."""
        lengths = np.linalg.norm(answer.astype(np.float64), axis=1)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if len(bad):
            what = "zero" if lengths[bad[0]] == 0 else "not finite"
            raise ModelError(
                f"{self._name}: the vector of picture {first + bad[0]} is {what}; the model is damaged, or not fed as "
                "it was trained"
            )
        return np.asarray(answer / lengths[:, None], np.float32)


def expect_same(model: EmbeddingModel, wanted: EmbeddingModel, what: str) -> None:
    """Checks that vectors of `model` may be compared with those of `wanted`, the model of `what`.

    Raises:
        ModelError: they may not; says how the models differ and what to do.

    >>> body = EmbeddingModel("osnet-x0-25", "61" * 32, Kind.BODY, 512)
    >>> expect_same(body, body, "gallery.npz")
    """
    mine, theirs = f"{model.name} ({model.sha256[:12]})", f"{wanted.name} ({wanted.sha256[:12]})"
    if model.dimension != wanted.dimension:
        differ = f"{wanted.dimension} numbers a vector; {mine} gives {model.dimension}"
    elif model.kind is not wanted.kind:
        differ = f"each of a {wanted.kind}; {mine} describes a {model.kind}"
    elif model.sha256 != wanted.sha256:
        differ = f"and vectors of another model file, {mine}, cannot be compared with them"
    else:
        return
    raise ModelError(f"{what} holds vectors of {theirs}, {differ}; give that model's file, or extract {what} again")


def _tables(card: ModelCard) -> list[F32]:
    """Returns what the network sees for each byte, (1, 256) float32, of each channel in the card's order."""
    scaled = (np.arange(256, dtype=np.float64) - card.shift) / card.scale
    means, stds = card.mean or (0.0,) * 3, card.std or (1.0,) * 3
    return [((scaled - mean) / std).astype(np.float32)[None] for mean, std in zip(means, stds, strict=True)]


def _ordered(channels: Sequence[U8], card: ModelCard) -> Sequence[U8]:
    """Returns red, green and blue in the order of the card."""
    return channels if card.colour == "rgb" else channels[::-1]


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
