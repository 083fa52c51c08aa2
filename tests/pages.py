"""Follows a page of the documentation word for word, in an empty folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SERVES = "wconv-sweep dashboard"


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield language, title and content of each block of a page."""
    yield from _BLOCK.findall(page.read_text("utf-8"))


def follow(page: Path, folder: Path, programs: Path = PROGRAMS) -> str:
    """Write the files that a page shows, and type its commands; return what they printed.

    A title that is no file's name says where the commands work: those are left out.

    Args:
        page: of the documentation.
        folder: to work in.
        programs: folder of the installed command.
    """
    for _, title, content in blocks(page):
        if Path(title).suffix:
            (folder / title).write_text(content, "utf-8")
            (folder / title).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "COLUMNS": "200",
    }
    printed = ""
    for language, title, content in blocks(page):
        if language != "sh" or title:
            continue
        if content.strip() == _SERVES:
            printed += served(folder, environment)
            continue
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", content],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert ended.returncode == 0, (content, ended.stdout, ended.stderr)
        printed += ended.stdout
    return printed


def served(folder: Path, environment: dict[str, str]) -> str:
    """Start the dashboard, and press Ctrl-C once it says where it is."""
    with subprocess.Popen(
        _SERVES.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0, line
    return line
