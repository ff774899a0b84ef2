"""What is learnt of the GPU, and what is told where something is missing; a script plays `nvidia-smi`."""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

import pytest

from watchline.detectors import gpu
from watchline.detectors.elf import needed_libraries
from watchline.detectors.gpu import Gpu, find_gpu, find_platform, has_provider, tensorrt_version, why_not
from watchline.detectors.runtime import load_onnxruntime
from watchline.streams.errors import ModelError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the script that plays nvidia-smi is for a POSIX shell")


def smi(folder: Path, script: str) -> str:
    """Writes a program that plays nvidia-smi."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_gpu_is_what_its_driver_says(tmp_path: Path) -> None:
    found = find_gpu(smi(tmp_path, "echo 'NVIDIA GeForce RTX 4090, 8.9, 580.10.01, 24564'"), visible="0")
    assert found == Gpu("NVIDIA GeForce RTX 4090", "8.9", "580.10.01", 24564 << 20)


def test_a_gpu_without_memory_of_its_own_is_one(tmp_path: Path) -> None:
    found = find_gpu(smi(tmp_path, "echo 'NVIDIA GB10, 12.1, 580.95, [N/A]'"), visible="0")
    assert found == Gpu("NVIDIA GB10", "12.1", "580.95", 0)


def test_of_several_it_is_the_one_that_cuda_takes_first(tmp_path: Path) -> None:
    program = smi(tmp_path, "echo \"$*, 8.9, 580, 1\" | sed 's/.*--id /id /; s/^--.*, 8.9/first, 8.9/'")
    assert find_gpu(program, visible="3,1").name == "id 3"
    assert find_gpu(program, visible="GPU-1f-2").name == "id GPU-1f-2"


def test_a_part_of_a_gpu_is_another_machine(tmp_path: Path) -> None:
    program = smi(tmp_path, "echo 'H100, 9.0, 580, 80000'")
    assert find_gpu(program, visible="MIG-7,MIG-8").part == "MIG-7"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'No devices were found'", "finds no GPU: No devices were found"),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; exit 18", "version mismatch"),
        ("exit 9", "finds no GPU: exit status 9"),
        ("echo 'RTX, 8.9, 580, [GPU is lost]'", "finds no GPU: RTX"),
    ],
)
def test_a_driver_that_does_not_work_says_why(tmp_path: Path, script: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        find_gpu(smi(tmp_path, script), visible="0")


def test_a_driver_that_hangs_costs_seconds_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SMI_TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match=r"does not answer within 0\.2 s"):
        find_gpu(smi(tmp_path, "exec sleep 60"), visible="0")


def test_without_a_driver_or_with_hidden_gpus_it_is_said() -> None:
    with pytest.raises(ModelError, match="no NVIDIA driver"):
        find_gpu("nvidia-smi-that-is-not-there", visible="0")
    for hidden in ("-1", ","):
        with pytest.raises(ModelError, match="hides every GPU"):
            find_gpu(visible=hidden)


def test_all_that_is_missing_for_tensorrt_is_said_at_once() -> None:
    if shutil.which("nvidia-smi") or has_provider("tensorrt"):
        pytest.skip("this machine has some of it")
    with pytest.raises(
        ModelError, match=r"no NVIDIA driver.*built without TensorRT.*onnxruntime-gpu.*watchline doctor"
    ):
        find_platform()


def test_the_light_look_for_a_provider_agrees_with_onnx_runtime() -> None:
    providers = load_onnxruntime().get_available_providers()
    assert has_provider("cuda") == ("CUDAExecutionProvider" in providers)
    assert has_provider("tensorrt") == ("TensorrtExecutionProvider" in providers)


def test_a_runtime_without_its_libraries_names_them() -> None:
    """True of the package onnxruntime-gpu on a machine without CUDA; nothing of it is loaded to find that out."""
    if not has_provider("tensorrt"):
        pytest.skip("this ONNX Runtime is built without CUDA; onnxruntime-gpu is")
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    assert why_not("cuda").startswith("CUDA lacks ")
    assert "libcuda.so.1" in why_not("cuda")
    assert tensorrt_version()[0].isdigit() or "libnvinfer.so" in tensorrt_version()


def test_the_libraries_that_a_library_needs_are_read_from_its_file(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("ELF files are Linux's")
    folder = Path(load_onnxruntime().__file__ or "").parent / "capi"
    path = next(folder.glob("onnxruntime_pybind11_state*.so"))
    needed = needed_libraries(path)
    assert any(name.startswith("libc.so") for name in needed)
    data = path.read_bytes()[:100_000]
    cut = tmp_path / "cut.so"
    for end in (0, 10, 64, 100, 500, 4000):
        cut.write_bytes(data[:end])
        with pytest.raises((ValueError, OSError)):
            needed_libraries(cut)
    cut.write_bytes(b"MZ" + data[2:])
    with pytest.raises(ValueError, match="not a shared library"):
        needed_libraries(cut)
    huge = bytearray(data)
    for start in (1 << 39, 1 << 62, (1 << 64) - 1):
        struct.pack_into("<Q", huge, 32, start)  # where its segments are said to lie
        cut.write_bytes(huge)
        with pytest.raises(ValueError, match="end"):
            needed_libraries(cut)
