"""Devices of workers, by what the driver and CUDA_VISIBLE_DEVICES say."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import devices
from tests.helpers.inputs import refused

PARTS = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 3g.40gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""


def visible(wanted: str) -> list[str]:
    return [place["CUDA_VISIBLE_DEVICES"] for place in devices.environments(wanted)]


def test_all_devices_are_those_of_the_driver_by_their_names(driver: Path) -> None:
    assert devices.environments("all") == [
        {"CUDA_VISIBLE_DEVICES": "GPU-aaaa", "HEADWISE_DEVICE": "cuda"},
        {"CUDA_VISIBLE_DEVICES": "GPU-bbbb", "HEADWISE_DEVICE": "cuda"},
    ]
    assert visible("1") == ["GPU-bbbb"]
    assert visible("1,0") == ["GPU-bbbb", "GPU-aaaa"]
    driver.write_text(PARTS)
    assert visible("all") == ["MIG-1111", "MIG-2222", "GPU-bbbb"]


@pytest.mark.usefixtures("driver")
def test_what_a_batch_system_gave_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5,-1,7")
    assert visible("all") == ["3", "5"]
    assert visible("1") == ["5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    refused(lambda: devices.environments("all"), "shows no CUDA device", "--devices cpu")


def test_without_the_driver_torch_counts_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    commands: list[list[str]] = []

    def output(command: list[str], **environment: str) -> str:
        commands.append(command)
        if command[0] == "nvidia-smi":
            return ""
        assert environment == {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        return "2\n"

    monkeypatch.setattr(devices, "_output", output)
    assert visible("all") == ["0", "1"]
    assert len(commands) == 2


def test_the_cpu_is_one_place_that_sees_no_gpu() -> None:
    assert devices.environments("cpu") == [{"CUDA_VISIBLE_DEVICES": "", "HEADWISE_DEVICE": "cpu"}]
