"""Embedder: pictures are fed as the card says, vectors have length 1, and what has no direction is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.reid.drawn import face, person
from tests.reid.test_align import POINTS
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.reid.align import align
from watchline.reid.embedder import Embedder, expect_same
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.tracklet import Crop
from watchline.streams.errors import ModelError, UsageError

BODY = ModelCard("osnet", "embed", (), (1,), placement="stretch", mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 2.0))
FACE = replace(BODY, family="sface", keypoints=(5, 2))
SIZE = (8, 4)


class Means:
    """A network whose vector is the mean of each channel of the picture, or whatever `change` makes of it."""

    def __init__(
        self,
        card: ModelCard = BODY,
        change: Callable[[F32], F32] = lambda vectors: vectors,
        size: tuple[int, int] | None = SIZE,
    ) -> None:
        self.card = card
        self.fixed_size = size
        self.change = change
        self.calls: list[F32] = []

    def run(self, batch: F32) -> tuple[F32, ...]:
        self.calls.append(batch.copy())
        return (self.change(batch.mean(axis=(2, 3))),)


def embedder(network: Means | None = None, batch: int = 8) -> Embedder:
    return Embedder(network or Means(), "means", "ab" * 32, batch)


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((30, 20, 3), (red, green, blue), np.uint8)


def crop(landmarks: F32 = POINTS) -> Crop:
    return Crop(face(), np.array([0, 0, 118, 130], np.float32), landmarks, 0.9, 0.8, 0.0, 0.0)


def test_it_knows_its_model() -> None:
    assert embedder().model == EmbeddingModel("means", "ab" * 32, Kind.BODY, 3)
    assert embedder(Means(FACE)).model.kind is Kind.FACE


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_a_picture_is_fed_in_the_cards_order_scale_mean_and_deviation(colour: str) -> None:
    network = Means(replace(BODY, colour=colour, shift=10.0, scale=100.0))
    embedder(network).embed([plain(200, 100, 50)])
    fed = network.calls[-1][0]
    assert fed.dtype == np.float32
    channels = np.array([200, 100, 50][:: 1 if colour == "rgb" else -1])
    expected = ((channels - 10) / 100 - np.array(BODY.mean)) / np.array(BODY.std)
    assert np.array_equal(fed, np.broadcast_to(expected.astype(np.float32)[:, None, None], (3, *SIZE)))


def test_a_picture_is_bent_to_the_networks_size_not_padded() -> None:
    network = Means(replace(BODY, mean=(), std=(), scale=1.0))
    wide = np.zeros((10, 200, 3), np.uint8)
    wide[:, 100:] = 255
    embedder(network).embed([wide])
    assert (network.calls[-1][0, :, :, :2] == 0).all()
    assert (network.calls[-1][0, :, :, 2:] == 255).all()


def test_vectors_have_length_one() -> None:
    vectors = embedder().embed([plain(200, 10, 90), plain(0, 0, 255), person()])
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_pictures_give_no_vectors() -> None:
    network = Means()
    assert embedder(network).embed([]).shape == (0, 3)
    assert len(network.calls) == 1  # the trial


def test_row_by_row_a_batch_gives_what_single_pictures_give() -> None:
    pictures = [person(hue=10 * i, height=100 + 7 * i) for i in range(11)]
    network = Means()
    together = embedder(network, batch=4).embed(pictures)
    assert [len(call) for call in network.calls] == [1, 4, 4, 3]
    alone = np.concatenate([embedder().embed([picture]) for picture in pictures])
    assert np.array_equal(together, alone)


def test_threads_do_not_mix_their_pictures() -> None:
    one = embedder(batch=2)
    pictures = [[person(hue=i), person(hue=3 * i)] for i in range(40)]
    expected = [one.embed(pair) for pair in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one.embed, pictures))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_part_of_a_frame_is_a_picture_too() -> None:
    frame = np.tile(person(), (2, 3, 1))
    part = frame[5:90, 40:20:-1]
    assert not part.flags.c_contiguous
    assert np.array_equal(embedder().embed([part]), embedder().embed([part.copy()]))


@pytest.mark.parametrize(
    "picture",
    [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3))],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"want a picture \(H, W, 3\) uint8, got"):
        embedder().embed([picture])


@pytest.mark.parametrize(
    ("value", "word"), [(0.0, "zero"), (np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite")]
)
def test_a_vector_without_a_direction_is_refused_by_the_number_of_its_picture(value: float, word: str) -> None:
    network = Means()
    one = embedder(network, batch=2)
    network.change = lambda vectors: np.where(np.arange(len(vectors))[:, None] == 1, np.float32(value), vectors)
    with pytest.raises(ModelError, match=rf"^means: the vector of picture 1 is {word}; ") as caught:
        one.embed([person()] * 4)
    assert "\n" not in str(caught.value)


def test_a_network_that_answers_zeros_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match=r"^means: the vector of picture 0 is zero"):
        embedder(Means(change=np.zeros_like))


@pytest.mark.parametrize(
    "change",
    [lambda v: v[:, :2], lambda v: v[:1], lambda v: v[..., None], lambda v: v[0]],
    ids=["fewer numbers", "fewer rows", "more dimensions", "one row"],
)
def test_an_answer_of_another_shape_is_refused(change: Callable[[F32], F32]) -> None:
    network = Means()
    one = embedder(network)
    network.change = change
    with pytest.raises(ModelError, match=r"^means: answers 2 pictures with .* numbers, expected 2x3$"):
        one.embed([person()] * 2)


@pytest.mark.parametrize("change", [lambda v: v[..., None], lambda v: v[0], lambda v: v[:, :0]])
def test_a_network_that_gives_no_vectors_is_refused_at_once(change: Callable[[F32], F32]) -> None:
    with pytest.raises(ModelError, match=r"^means: answers one picture with .* numbers, expected one vector$"):
        embedder(Means(change=change))


def test_a_detector_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^means: finds things in pictures and describes none"):
        embedder(Means(ModelCard("yolov8", "detect", ("person",), (8, 16, 32))))


def test_a_network_that_takes_any_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^means: takes pictures of any size; export it with its size fixed"):
        embedder(Means(size=None))


def test_what_the_runtime_says_is_passed_on_with_the_models_name() -> None:
    network = Means()
    one = embedder(network)

    def fail(vectors: F32) -> F32:
        raise ModelError("CPUExecutionProvider failed on an input of 1x3x8x4: no memory")

    network.change = fail
    with pytest.raises(ModelError, match=r"^means: CPUExecutionProvider failed"):
        one.embed([person()])


def test_faces_are_aligned_before_they_are_fed() -> None:
    one = embedder(Means(FACE, size=(112, 112)))
    found = one.embed_faces([crop(), crop()])
    assert np.array_equal(found, one.embed([align(face(), POINTS)] * 2))
    assert one.embed_faces([]).shape == (0, 3)


def test_a_face_without_landmarks_is_refused() -> None:
    with pytest.raises(ModelError, match="a face with 0 landmarks that do not span it"):
        embedder(Means(FACE)).embed_faces([crop(np.zeros((0, 2), np.float32))])


def test_a_model_of_bodies_describes_no_faces() -> None:
    with pytest.raises(UsageError, match=r"^means: describes bodies, not faces; name a face model"):
        embedder().embed_faces([crop()])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (EmbeddingModel("b", "2" * 64, Kind.BODY, 256), r"a \(1{12}\), 512 numbers a vector; b \(2{12}\) gives 256; "),
        (EmbeddingModel("b", "2" * 64, Kind.FACE, 512), r"each of a body; b \(2{12}\) describes a face; "),
        (EmbeddingModel("a", "2" * 64, Kind.BODY, 512), r"vectors of another model file, a \(2{12}\), cannot be"),
    ],
)
def test_vectors_of_different_models_are_never_compared(other: EmbeddingModel, said: str) -> None:
    gallery = EmbeddingModel("a", "1" * 64, Kind.BODY, 512)
    with pytest.raises(ModelError, match=rf"^week\.npz holds vectors of .*{said}") as caught:
        expect_same(other, gallery, "week.npz")
    assert "\n" not in str(caught.value)


def test_another_name_of_the_same_file_is_the_same_model() -> None:
    mine = EmbeddingModel("a", "1" * 64, Kind.BODY, 512)
    expect_same(replace(mine, name="models/a.onnx"), mine, "week.npz")
