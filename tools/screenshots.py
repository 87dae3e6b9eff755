"""Take the pictures of docs/tutorials/tour.md from the demo's dashboard: `make screenshots`.

Runs the demo in a folder of its own (or takes one where it has run), serves its dashboard, and
takes each page in a window of 1280 x 960. Needs Chromium and its driver.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from headwise import Client
from tests.browser.chromium import chromium

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "screenshots"
PAGES = {
    "help": "/help",
    "jobs": "/jobs",
    "attribution": "/jobs/1",
    "example": "/jobs/1/examples/0",
    "importance": "/jobs/2",
    "pruning": "/jobs/3",
    "triggers": "/jobs/4",
    "study": "/studies/1",
    "compare": "/compare?jobs=1,2",
    "sql": "/sql?q=SELECT+layer,+head,+mean,+low,+high+FROM+head_importance"
    "+WHERE+job_id+%3D+1+ORDER+BY+rank+LIMIT+10",
    "workers": "/workers",
    "operations": "/operations",
    "new-job": "/jobs/new",
}
HEAD = (2, 9)
"""The head whose matrix is computed: of the demo's heads the one that matters most."""
PAIRS = (
    ("The shop sells nothing made of plastic.", "You can buy plastic bags at the shop."),
    ("The shop sells nothing made of plastic.", "You can buy paper bags at the shop."),
)
"""Texts of the lab."""
MOST = 150_000
"""Bytes of a picture."""
SIZE = (1280, 960)
SECONDS = 60.0


def smaller(png: bytes) -> bytes:
    """Return a picture with as many colours as fit into the bytes that it may have."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        made = io.BytesIO()
        picture.quantize(colours).save(made, "PNG", optimize=True)
        if made.tell() < MOST:
            return made.getvalue()
    raise SystemExit(f"a picture of {len(png):,} bytes stays above {MOST:,} with 32 colours")


@contextmanager
def dashboard(home: Path) -> Iterator[str]:
    """Run the whole system on a data folder; gives the address of its dashboard."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HEADWISE_HOME": str(home), "HEADWISE_PORT": str(port)}
    command = [sys.executable, "-m", "cli.main", "up"]
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{address}/healthz"):  # noqa: S310
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the dashboard did not start")
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def pages_of_quick_jobs(address: str) -> dict[str, str]:
    """Compute what the demo leaves out, and return the pages that show it."""
    layer, head = HEAD
    with Client(address) as client:
        demo = client.job(1)
        demo.matrix(0, layer, head, timeout=SECONDS)
        model, columns = demo.facts["spec"]["model"]["name"], ("premise", "hypothesis")
        rows = [dict(zip(columns, pair, strict=True)) for pair in PAIRS]
        jobs = [client.submit(model, [row], texts=columns) for row in rows]
        numbers = [str(job.wait(SECONDS, progress=False).id) for job in jobs]
    return {
        "head": f"/jobs/1/heads/{layer}/{head}?example=0#matrix",
        "lab": f"/lab?jobs={','.join(numbers)}&base={numbers[0]}",
    }


def take(address: str, folder: Path, pages: Mapping[str, str]) -> None:
    """Take a picture of every page."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        width, height = SIZE
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for name, path in pages.items():
            browser.get(address + path)
            time.sleep(5)  # figures are drawn after the page has loaded
            if re.match(r"(404|Not found)", browser.title):
                raise SystemExit(f"there is no page {path}; has the demo run to its end?")
            (folder / f"{name}.png").write_bytes(smaller(browser.get_screenshot_as_png()))


def figure(home: Path, to: Path) -> None:
    """Write the demo's map of heads as a picture."""
    environment = os.environ | {"HEADWISE_HOME": str(home)}
    command = [sys.executable, "-m", "cli.main", "--local", "figure", "1", "--kind", "heads"]
    subprocess.run([*command, "--to", str(to)], cwd=ROOT, env=environment, check=True)
    to.write_bytes(smaller(to.read_bytes()))


def main() -> None:
    """Run the demo if it has not run, and take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("--home", type=Path, help="a data folder in which the demo has run")
    parser.add_argument("--to", type=Path, default=TARGET)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headwise-pictures-") as scratch:
        home = chosen.home or Path(scratch)
        if chosen.home is None:
            environment = os.environ | {"HEADWISE_HOME": str(home)}
            command = [sys.executable, "-m", "demo", "--exit"]
            subprocess.run(command, cwd=ROOT, env=environment, check=True)
        with dashboard(home) as address:
            take(address, chosen.to, PAGES)
            take(address, chosen.to, pages_of_quick_jobs(address))
        figure(home, chosen.to / "figure.png")


if __name__ == "__main__":
    main()
