"""Damage to model files, by seed: what any file can suffer, and what a mutation is.

`model_checkpoint_mutations`, `model_payloads` and `model_onnx_mutations` know the formats; `fuzz_models` runs them all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

Change: TypeAlias = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Mutation:
    """One way to spoil a file.

    Attributes:
        kind: "zip", "pickle", ...: the line of the table.
        name: what is done.
        change: makes the spoilt file of a sound one.
        passes: why such a file may be accepted after all; "" where it must be refused.
    """

    kind: str
    name: str
    change: Change
    passes: str = ""


@dataclass(frozen=True)
class Mutant:
    """A spoilt file: the mutation that made it, from what, and its bytes."""

    number: int
    mutation: Mutation
    origin: str
    data: bytes

    @property
    def title(self) -> str:
        return f"{self.mutation.kind}: {self.mutation.name} ({self.origin})"


def mutants(mutations: Sequence[Mutation], origins: dict[str, bytes], seed: int, count: int) -> Iterator[Mutant]:
    """Yields `count` mutants: every mutation in turn, of a file drawn by the seed; the same seed gives the same files.

    The number of a mutant alone says what it is, whatever the count.
    """
    names = sorted(origins)
    for number in range(count):
        mutation = mutations[number % len(mutations)]
        random = Random(f"{seed} {number}")
        origin = random.choice(names)
        yield Mutant(number, mutation, origin, mutation.change(origins[origin], random))


def interleaved(mutations: Sequence[Mutation]) -> list[Mutation]:
    """Returns `mutations` so that the kinds take turns: the first few are then a sample of all."""
    kinds = list(dict.fromkeys(mutation.kind for mutation in mutations))
    ranks = {kind: [m for m in mutations if m.kind == kind] for kind in kinds}
    depth = max(len(rank) for rank in ranks.values())
    return [ranks[kind][i] for i in range(depth) for kind in kinds if i < len(ranks[kind])]


# --- what any file can suffer ---


def spot(data: bytes, random: Random) -> int:
    """Returns where to strike: anywhere, or near an end, where formats keep their structure."""
    near = min(len(data), 8192)
    return random.choice((random.randrange(len(data)), random.randrange(near), len(data) - 1 - random.randrange(near)))


def flip_bits(data: bytes, random: Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        spoilt[spot(data, random)] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def truncate(data: bytes, random: Random) -> bytes:
    return data[: spot(data, random)]


def cut_out(data: bytes, random: Random) -> bytes:
    at = spot(data, random)
    return data[:at] + data[at + random.choice((1, 4, 100, 5000)) :]


def duplicate_block(data: bytes, random: Random) -> bytes:
    at, size = spot(data, random), random.choice((1, 4, 100, 5000))
    return data[: at + size] + data[at : at + size] + data[at + size :]


def swap_blocks(data: bytes, random: Random) -> bytes:
    size = random.choice((1, 8, 512, 4096))
    a, b = sorted((spot(data, random), spot(data, random)))
    b = max(b, a + size)
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


def zero_range(data: bytes, random: Random) -> bytes:
    at, size = spot(data, random), random.choice((4, 64, 4096))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def overwrite(data: bytes, random: Random) -> bytes:
    at = spot(data, random)
    new = random.choice((random.randbytes(16), b"\xff" * 8, struct.pack("<Q", 1 << 62), struct.pack("<i", -1)))
    return data[:at] + new + data[at + len(new) :]


def insert_noise(data: bytes, random: Random) -> bytes:
    at = spot(data, random)
    return data[:at] + random.randbytes(random.choice((1, 16, 1000))) + data[at:]


def twice(data: bytes, random: Random) -> bytes:
    return data + data


def junk_before(data: bytes, random: Random) -> bytes:
    return random.choice((b"#!/bin/sh\n", b"\0" * 512, random.randbytes(100), b"PK\x03\x04")) + data


def junk_behind(data: bytes, random: Random) -> bytes:
    return data + random.choice((b"\0" * 512, random.randbytes(100), b"PK\x05\x06" + bytes(18)))


def byte_mutations(unused: str) -> list[Mutation]:
    """Returns what any file can suffer; `unused` says why one may be accepted."""
    changes: tuple[Change, ...] = (
        *(flip_bits, truncate, cut_out, duplicate_block, swap_blocks, zero_range, overwrite, insert_noise),
        *(twice, junk_before, junk_behind),
    )
    return [Mutation("bytes", change.__name__.replace("_", " "), change, unused) for change in changes]
