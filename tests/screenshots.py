"""Makes the pictures of the documentation: runs the quickstart study and looks at it.

    make screenshots

A pseudo-terminal of 80 columns shows what is typed, and Chromium makes pictures of it, of the
dashboard and of the report. Nothing is drawn by hand: other numbers come with another machine.
"""

import argparse
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from tests.browser import picture_of_page

STUDY = "quickstart"
COLUMNS = 80
DEADLINE_S = 1800
_PAGE = """<!DOCTYPE html><meta charset="utf-8"><title>terminal</title>
<body style="margin:0;background:{background};color:{foreground}">
<pre style="margin:16px;font:16px/20px 'DejaVu Sans Mono',monospace">
<code style="font:inherit">{code}</code></pre></body>"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study in a folder of its own, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    options = parser.parse_args(arguments)
    output = options.output.absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(folder, "launch", "--cluster", "local", "--study", STUDY, "--detach")
        wait_until(folder, ended=8)
        picture_of_terminal(folder, output / "status.png", "status", "--study", STUDY)
        wait_until(folder, ended=None)
        take(folder, output)


def take(folder: Path, output: Path, study: str = STUDY) -> None:
    """Write the pictures of a study that has ended.

    Args:
        folder: with the folder of all runs.
        output: folder of the pictures, made where it is missing.
        study: its name.
    """
    picture_of_terminal(folder, output / "result.png", "status", "--study", study)
    with dashboard(folder) as page:
        picture(folder, f"{page}dashboard/studies/1", output / "dashboard.png", 1400, 640)
    report = folder / "report.html"
    command(folder, "report", "--study", study, "--html", str(report))
    url = report.as_uri()
    picture(folder, url, output / "report.png", 1280, 1500)
    picture(folder, url, output / "report_dark.png", 1280, 1500, dark=True)
    picture(folder, url, output / "report_phone.png", 500, 1000)


def picture(
    folder: Path, url: str, path: Path, width_px: int, height_px: int, *, dark: bool = False
) -> None:
    """Save a picture of a page, in as many colors as fit into a byte."""
    taken = folder / "taken.png"
    picture_of_page(url, taken, width_px=width_px, height_px=height_px, dark=dark)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(taken) as opened:
        opened.convert("RGB").quantize(256).save(path, optimize=True)


def command(folder: Path, *arguments: str) -> str:
    """Run the command to its end and return what it printed."""
    words = [sys.executable, "-m", "wconv_sweep", *arguments]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return ended.stdout


def wait_until(folder: Path, *, ended: int | None) -> None:
    """Wait until so many trials have ended, or the study has; but not without end."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        (status,) = json.loads(command(folder, "status", "--study", STUDY, "--json"))
        if status["state"] == "complete" or (ended is not None and status["ended"] >= ended):
            return
        assert status["state"] in ("running", "waiting"), status["state"]
        time.sleep(1)
    raise AssertionError(f"the study has not come so far within {DEADLINE_S} s")


def picture_of_terminal(folder: Path, path: Path, *arguments: str) -> None:
    """Save what the command shows in a terminal of 80 columns."""
    shown = Text.from_ansi(
        f"$ wconv-sweep {' '.join(arguments)}\n{in_terminal(folder, *arguments)}"
    )
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    page = folder / "terminal.html"
    theme = DIMMED_MONOKAI
    html = console.export_html(theme=theme, inline_styles=True, code_format=_PAGE)
    page.write_text(html, "utf-8")
    picture(folder, page.as_uri(), path, 840, 1200)
    trim(path)


def in_terminal(folder: Path, *arguments: str) -> str:
    """Run the command in a pseudo-terminal and return what it printed, colors included."""
    reader, writer = pty.openpty()
    ended = subprocess.Popen(
        [sys.executable, "-m", "wconv_sweep", *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"},
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    found = b""
    while True:
        try:
            piece = os.read(reader, 1 << 16)
        except OSError:  # how Linux tells that nobody writes any more
            break
        if not piece:
            break
        found += piece
    os.close(reader)
    assert ended.wait() == 0, found
    return found.decode().replace("\r\n", "\n").rstrip()


def trim(path: Path) -> None:
    """Cut off what is empty below the text."""
    with Image.open(path) as opened:
        shown = opened.convert("RGB")
    background = Image.new("RGB", shown.size, shown.getpixel((0, 0)))
    box = ImageChops.difference(shown, background).getbbox()
    assert box is not None, "nothing is to be seen"
    bottom = min(shown.height, box[3] + 16)
    shown.crop((0, 0, shown.width, bottom)).quantize(256).save(path, optimize=True)


@contextmanager
def dashboard(folder: Path) -> Iterator[str]:
    """Serve the dashboard and give its address."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "wconv_sweep", "dashboard"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert found is not None
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
