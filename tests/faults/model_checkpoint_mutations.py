"""Checkpoints spoilt by someone who knows the format: the zip, the pickle in it, the numbers, the network."""

from __future__ import annotations

import io
import pickletools
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Final

from tests.detectors import checkpoints
from tests.detectors.checkpoints import Writer
from tests.faults.model_mutations import Mutation, byte_mutations, flip_bits
from tests.faults.model_network_mutations import Code, network_mutations, saved
from tests.faults.model_payloads import code_payloads, hurtful_pickles, placed, tensor_payloads

_INERT: Final = "what is named is remembered as a name and never made, and nothing of the network depends on it"
_UNUSED: Final = "the part that changed is not read, or says the same"
_OTHER_NUMBERS: Final = "other numbers in the same places are another network of the same form; its answers are finite"


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def _pickle_name(members: Mapping[str, bytes]) -> str:
    return next(name for name in members if name.endswith("/data.pkl"))


def _with_pickle(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Returns the checkpoint with its pickle changed and every checksum right."""
    members = _members(data)
    name = _pickle_name(members)
    return _zipped({**members, name: change(members[name])})


# --- the zip ---


def _rename_member(data: bytes, random: Random) -> bytes:
    members = _members(data)
    old = random.choice(sorted(members))
    new = random.choice(
        ("../../../canary", "/tmp/canary", "C:\\canary", "net/data.pkl", old.upper(), old + "\0", "", "\x1b[2J")
    )
    return _zipped({new if name == old else name: content for name, content in members.items()})


def _drop_member(data: bytes, random: Random) -> bytes:
    members = _members(data)
    del members[random.choice(sorted(members))]
    return _zipped(members)


def _duplicate_member(data: bytes, random: Random) -> bytes:
    members = _members(data)
    twin = random.choice(sorted(members))
    other = twin[:-1] + chr(ord(twin[-1]) ^ 1)
    return _zipped({**members, other: b"x"}).replace(other.encode(), twin.encode())


def _climbing_member(data: bytes, random: Random) -> bytes:
    return _zipped({**_members(data), "../" * 8 + "tmp/canary": b"x", "/canary": b"x", "a/../../canary": b"x"})


def _symlink_member(data: bytes, random: Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in _members(data).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16
            file.writestr(info, b"/etc/passwd" if name.endswith("/0") else content)
    return out.getvalue()


def _compressed(data: bytes, random: Random) -> bytes:
    return _zipped(_members(data), random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))


def _bomb(data: bytes, random: Random) -> bytes:
    members = _members(data)
    name = random.choice((_pickle_name(members), next(n for n in members if "/data/" in n)))
    return _zipped({**members, name: bytes(30_000_000)}, zipfile.ZIP_DEFLATED)


def _many_members(data: bytes, random: Random) -> bytes:
    return _zipped({**_members(data), **{f"net/{i}": b"" for i in range(50_001)}})


def _nested_archive(data: bytes, random: Random) -> bytes:
    return _zipped({"net/data.pkl": data, "net/version": b"3\n"})


def _field(signature: bytes, offset: int, form: str, *values: int) -> Callable[[bytes, Random], bytes]:
    """Returns what changes one field of one header of the zip."""

    def change(data: bytes, random: Random) -> bytes:
        places = [found.start() for found in re.finditer(re.escape(signature), data)] if signature != _END else []
        at = (random.choice(places) if places else data.rindex(signature)) + offset
        field = struct.pack(form, random.choice(values))
        return data[:at] + field + data[at + len(field) :]

    return change


def _zip64_lies(data: bytes, random: Random) -> bytes:
    end = data.rindex(b"PK\5\6")
    entries, size, start = random.choice(((1 << 60, 1 << 61, 0), (3, 1 << 40, 5), (1 << 20, end, 0)))
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    return data[:end] + record + locator + data[end:]


def _swapped_storages(data: bytes, random: Random) -> bytes:
    members = _members(data)
    a, b = random.sample([name for name in sorted(members) if "/data/" in name], 2)
    return _zipped({**members, a: members[b], b: members[a]})


def _shorter_storage(data: bytes, random: Random) -> bytes:
    members = _members(data)
    name = random.choice([name for name in sorted(members) if "/data/" in name and members[name]])
    return _zipped({**members, name: members[name][: random.randrange(len(members[name]))]})


def _other_numbers(*values: bytes) -> Callable[[bytes, Random], bytes]:
    def change(data: bytes, random: Random) -> bytes:
        members = _members(data)
        name = random.choice([name for name in sorted(members) if "/data/" in name and len(members[name]) > 8])
        fill = random.choice(values)
        size = len(members[name])
        return _zipped({**members, name: (fill * (size // len(fill) + 1))[:size]})

    return change


def _byte_order(data: bytes, random: Random) -> bytes:
    members = _members(data)
    root = _pickle_name(members).removesuffix("data.pkl")
    return _zipped({**members, root + "byteorder": random.choice((b"big", b"", b"\xff\xfe", b"little" * 9999))})


_LOCAL, _ENTRY, _END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_ZIP: Final = (
    Mutation("zip", "a member renamed", _rename_member, _UNUSED),
    Mutation("zip", "a member missing", _drop_member, _UNUSED),
    Mutation("zip", "a member twice", _duplicate_member),
    Mutation("zip", "members that climb out", _climbing_member, "nothing is extracted; they are only names"),
    Mutation("zip", "members that are links", _symlink_member),
    Mutation("zip", "compressed members", _compressed),
    Mutation("zip", "a bomb", _bomb),
    Mutation("zip", "fifty thousand members", _many_members),
    Mutation("zip", "an archive in the archive", _nested_archive),
    Mutation("zip", "encrypted flag", _field(_ENTRY, 8, "<H", 1, 0x41), _UNUSED),
    Mutation("zip", "method in the directory", _field(_ENTRY, 10, "<H", 1, 8, 9, 12, 14, 93, 99)),
    Mutation("zip", "compressed size in the directory", _field(_ENTRY, 20, "<I", 0, 1, 1 << 30, 0xFFFFFFFF)),
    Mutation("zip", "size in the directory", _field(_ENTRY, 24, "<I", 0, 1, 1 << 30, 0xFFFFFFFF)),
    Mutation("zip", "length of a name", _field(_ENTRY, 28, "<H", 0, 1, 0xFFFF)),
    Mutation("zip", "length of extra fields", _field(_ENTRY, 30, "<H", 5, 60, 0xFFFF)),
    Mutation("zip", "place of a member", _field(_ENTRY, 42, "<I", 0, 1, 1 << 30, 0xFFFFFFFF), _UNUSED),
    Mutation("zip", "checksum of a member", _field(_ENTRY, 16, "<I", 0, 1), _UNUSED),
    Mutation("zip", "local header", _field(_LOCAL, 26, "<H", 0, 5, 0xFFFF), _UNUSED),
    Mutation("zip", "number of members", _field(_END, 10, "<H", 0, 1, 0xFFFF), _UNUSED),
    # Torch writes these two again, in the fields for large archives, which count.
    Mutation("zip", "size of the directory", _field(_END, 12, "<I", 0, 1, 1 << 30, 0xFFFFFFFF), _UNUSED),
    Mutation("zip", "place of the directory", _field(_END, 16, "<I", 0, 1, 1 << 30, 0xFFFFFFFF), _UNUSED),
    Mutation("zip", "zip64 lies", _zip64_lies),
    Mutation("zip", "byte order", _byte_order),
    Mutation("numbers", "swapped tensors", _swapped_storages, _OTHER_NUMBERS),
    Mutation("numbers", "a shorter tensor", _shorter_storage, _UNUSED),
    Mutation("numbers", "not a number", _other_numbers(b"\x00\x7e", b"\xff"), _UNUSED),
    Mutation("numbers", "infinite numbers", _other_numbers(b"\x00\x7c", b"\x00\x00\x80\x7f"), _OTHER_NUMBERS),
    Mutation("numbers", "giant numbers", _other_numbers(b"\xff\x7b", b"\xff\xfb"), _OTHER_NUMBERS),
    Mutation("numbers", "nothing but zeros", _other_numbers(b"\0"), _OTHER_NUMBERS),
)


# --- the pickle, operation by operation ---

_HOSTILE_VALUES: Final = (
    *(
        b"N",
        b"\x88",
        b"\x89",
        b")",
        b"]",
        b"}",
        b"K\x00",
        b"K\x01",
        b"K\xff",
        b"J\xff\xff\xff\xff",
        b"J\xff\xff\xff\x7f",
    ),
    *(b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\xff" + b"\x7f" * 255, b"\x8a\x09" + bytes(8) + b"\x80"),
    *(b"G" + struct.pack(">d", value) for value in (float("nan"), float("inf"), -1.5, 1e300)),
    *(
        b"X\x00\x00\x00\x00",
        b"X\x06\x00\x00\x00\x1b[2J\n\x07",
        b"X\x03\x00\x00\x00../",
        b"K\x01K\x02\x86",
        b"M\xff\xffM\xff\xff\x86",
    ),
    *(b"cos\nsystem\n", b"cos\nsystem\n)R", b"](K\x01K\x02e", b"}(K\x00K\x01u", b"N" + b"\x85" * 5000),
    b"\x8d" + struct.pack("<Q", 100_000) + b"a" * 100_000,
)
_VALUES: Final = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NEWTRUE", "NEWFALSE", "NONE", "BINUNICODE")
)


@cache
def _operations(data: bytes) -> list[tuple[str, int, int, object]]:
    """Returns name, start, end and argument of each operation."""
    found = [(code.name, at or 0, argument) for code, argument, at in pickletools.genops(data)]
    ends = [at for _, at, _ in found[1:]] + [len(data)]
    return [(name, at, end, argument) for (name, at, argument), end in zip(found, ends, strict=True)]


def _operation_change(change: Callable[[list[bytes], list[str], Random], None]) -> Callable[[bytes, Random], bytes]:
    """Returns what changes the list of operations of a checkpoint's pickle."""

    def changed(data: bytes, random: Random) -> bytes:
        def spoil(pickled: bytes) -> bytes:
            parts = _operations(pickled)
            codes = [pickled[at:end] for _, at, end, _ in parts]
            change(codes, [name for name, *_ in parts], random)
            return b"".join(codes)

        return _with_pickle(data, spoil)

    return changed


def _replace_value(codes: list[bytes], names: list[str], random: Random) -> None:
    for _ in range(random.choice((1, 1, 3))):
        at = random.choice([i for i, name in enumerate(names) if name in _VALUES])
        codes[at] = random.choice(_HOSTILE_VALUES)


def _replace_global(codes: list[bytes], names: list[str], random: Random) -> None:
    at = random.choice([i for i, name in enumerate(names) if name == "GLOBAL"])
    others = [code for code, name in zip(codes, names, strict=True) if name == "GLOBAL"]
    codes[at] = random.choice(
        (*others, b"cos\nsystem\n", b"cbuiltins\neval\n", b"c\xc3\xa9\n\xe2\x84\xaa\n", b"c.\n.\n")
    )


def _drop(codes: list[bytes], names: list[str], random: Random) -> None:
    codes[random.randrange(1, len(codes))] = b""


def _double(codes: list[bytes], names: list[str], random: Random) -> None:
    codes[random.randrange(1, len(codes))] *= random.choice((2, 100))


def _swap(codes: list[bytes], names: list[str], random: Random) -> None:
    a, b = random.randrange(1, len(codes)), random.randrange(1, len(codes))
    codes[a], codes[b] = codes[b], codes[a]


def _insert(codes: list[bytes], names: list[str], random: Random) -> None:
    codes[random.randrange(1, len(codes))] += random.choice(
        (*_HOSTILE_VALUES, b"R", b"b", b"Q", b"0", b"(", b"t", b"u", b".")
    )


def _other_memo(codes: list[bytes], names: list[str], random: Random) -> None:
    at = random.choice([i for i, name in enumerate(names) if name in ("BINGET", "LONG_BINGET")])
    codes[at] = b"j" + struct.pack("<I", random.randrange(3000))


def _pickle_flip(data: bytes, random: Random) -> bytes:
    return _with_pickle(data, lambda pickled: flip_bits(pickled, random))


def _pickle_cut(data: bytes, random: Random) -> bytes:
    return _with_pickle(data, lambda pickled: pickled[: random.randrange(len(pickled))])


_PICKLE: Final = (
    Mutation("pickle", "bits flipped", _pickle_flip, _UNUSED),
    Mutation("pickle", "truncated", _pickle_cut),
    Mutation("pickle", "another value", _operation_change(_replace_value), _UNUSED),
    Mutation("pickle", "another class", _operation_change(_replace_global), _UNUSED),
    Mutation("pickle", "an operation missing", _operation_change(_drop), _UNUSED),
    Mutation("pickle", "an operation repeated", _operation_change(_double), _UNUSED),
    Mutation("pickle", "operations swapped", _operation_change(_swap), _UNUSED),
    Mutation("pickle", "an operation added", _operation_change(_insert), _UNUSED),
    Mutation("pickle", "another memo", _operation_change(_other_memo), _UNUSED),
)


# --- payloads ---


def payload_pickles(canary: str) -> dict[str, tuple[str, bytes]]:
    """Returns whole pickles by name, each with its kind: "code", "hurt" or "tensor"."""
    found: dict[str, tuple[str, bytes]] = {}
    for kind, payloads in (
        ("code", code_payloads(canary)),
        ("hurt", hurtful_pickles()),
        ("tensor", tensor_payloads()),
    ):
        for number, (name, value) in enumerate(payloads.items()):
            places = list(placed(value))
            place, data = places[number % len(places)]
            found[f"{name}, {place}"] = (kind, data)
    return found


def _payload(pickled: bytes, *, old: bool) -> Callable[[bytes, Random], bytes]:
    if old:
        return lambda data, random: _old(pickled)
    return lambda data, random: checkpoints.archive(pickled, [bytes(16)])


def _old(pickled: bytes) -> bytes:
    """Returns a checkpoint of the format before torch 1.6 with this structure."""
    whole = checkpoints.old_checkpoint(0)
    plain = Writer(old=True).pickle(0)
    return whole.replace(plain, pickled, 1)


def _beside(canary: str) -> Callable[[bytes, Random], bytes]:
    """Returns what puts some code beside a sound network."""

    def change(data: bytes, random: Random) -> bytes:
        value = Code(random.choice(sorted(code_payloads(canary).values())))
        key = random.choice(("optimizer", "epoch", "train_args", "ema", "date"))
        return saved({"model": checkpoints.small_network(), key: value})

    return change


def _tar(data: bytes, random: Random) -> bytes:
    """The archive that the very first torch wrote."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("sys_info", "pickle", "storages", "tensors", "../canary"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _payloads(canary: str) -> list[Mutation]:
    found = [
        Mutation(f"payload: {kind}", name, _payload(data, old=number % 4 == 3))
        for number, (name, (kind, data)) in enumerate(payload_pickles(canary).items())
    ]
    return [
        Mutation("payload: code", "beside a sound network", _beside(canary), _INERT),
        Mutation("payload: code", "in a tar archive", _tar),
        *found,
    ]


def checkpoint_mutations(canary: str) -> list[Mutation]:
    """Returns all ways to spoil a checkpoint; payloads would touch the file `canary`."""
    return [*byte_mutations(_UNUSED), *_ZIP, *_PICKLE, *_payloads(canary), *network_mutations()]
