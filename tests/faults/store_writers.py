"""Processes that write sightings, to be killed."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.store.made import make_crop, make_sighting, make_vector
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.pipeline.store.writer import StoreWriter, WriterSettings


def numbered(number: int) -> Sighting:
    """Returns the sighting of a number: the same in every process."""
    rng = np.random.default_rng(number)
    return make_sighting(
        rng,
        sighting_id=f"{number:032x}",
        track_key=f"{number:032x}",
        track_id=number,
        started_at=float(number),
        ended_at=number + 0.5,
        crops=(make_crop(rng, 12_000), make_crop(rng, 300)),
        vectors=(make_vector(rng),),
    )


def write_and_tell(path: Path, first: int, most: int, told: Connection) -> None:
    """Writes sightings from a number on, and tells of each commit, up to which number, once it is done."""
    store = open_store(path, ballast_bytes=0)
    number = first
    while number < first + most:
        many = min(1 + number % 4, first + most - number)
        store.add([numbered(each) for each in range(number, number + many)])
        number += many
        told.send(number)
    store.close()


def put_and_tell(path: Path, first: int, most: int, told: Connection) -> None:
    """The same through a writer's thread, that says how many are stored."""
    store = open_store(path, ballast_bytes=0)
    writer = StoreWriter(store, WriterSettings(commit_s=0.005))
    for number in range(first, first + most):
        writer.put(numbered(number), wait_s=10)
        told.send(first + writer.status().stored)
    writer.close(10)
    os._exit(0)
