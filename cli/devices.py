"""Find the devices that `headwise worker --devices` names, without starting CUDA here."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import takewhile

from jobs.errors import refuse

OPTION = "--devices"
_GPU = re.compile(r"^GPU \d+: .*\(UUID: (GPU-[^)]+)\)", re.MULTILINE)
_MIG = re.compile(r"^\s+MIG .*\(UUID: (MIG-[^)]+)\)", re.MULTILINE)
_COUNT = "import torch; print(torch.cuda.device_count())"


def environments(wanted: str) -> list[dict[str, str]]:
    """Environment variables for each worker process, which show it its own device only.

    `wanted` is all, cpu, or positions among the visible devices: 0,1. Raises InputError.
    """
    if wanted == "cpu":
        return [{"CUDA_VISIBLE_DEVICES": "", "HEADWISE_DEVICE": "cpu"}]
    if wanted != "all" and not re.fullmatch(r"\d{1,3}(,\d{1,3})*", wanted):
        raise refuse(OPTION, wanted, "is not a list of devices", "Write all, cpu, or e.g. 0,1.")
    found = cuda_devices(os.environ)
    if not found:
        remedy = "Use --devices cpu, or leave it out."
        raise refuse(OPTION, wanted, "this machine shows no CUDA device", remedy)
    positions = range(len(found)) if wanted == "all" else [int(n) for n in wanted.split(",")]
    if len(set(positions)) < len(positions):
        raise refuse(OPTION, wanted, "names a device twice", "One process serves one device.")
    if max(positions) >= len(found):
        last = len(found) - 1
        there = "only device 0" if last == 0 else f"devices 0 to {last}"
        raise refuse(OPTION, wanted, f"there is no device {max(positions)}", f"There are {there}.")
    return [{"CUDA_VISIBLE_DEVICES": found[n], "HEADWISE_DEVICE": "cuda"} for n in positions]


def cuda_devices(environ: Mapping[str, str]) -> list[str]:
    """List the devices by their names in CUDA_VISIBLE_DEVICES.

    If the variable is set (by a batch system or a container), they are those that it names. If
    not, they are the UUIDs of the GPUs that the driver lists, or of their MIG instances; CUDA's
    own numbers are ordered by speed. Without the driver, torch counts them in a child process.
    """
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA stops at the first unknown name; -1 stands for no device.
        names = (name.strip() for name in visible.split(","))
        return list(takewhile(lambda name: name not in ("", "-1"), names))
    found = driver_devices()
    if found or importlib.util.find_spec("torch") is None:
        return found
    # With NVML torch counts without starting CUDA; if it must start it, that process ends anyway.
    counted = _output([sys.executable, "-c", _COUNT], PYTORCH_NVML_BASED_CUDA_CHECK="1").strip()
    return [str(number) for number in range(int(counted or 0))]


def driver_devices() -> list[str]:
    """UUIDs of the GPUs that the driver lists, or of their MIG instances."""
    found = []
    for part in re.split(r"(?m)^(?=GPU \d+:)", _output(["nvidia-smi", "-L"])):
        found += _MIG.findall(part) or _GPU.findall(part)
    return found


def _output(command: list[str], **environment: str) -> str:
    try:
        ran = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout
