"""Follows a page of the documentation word for word, in a folder of the reader's."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
SHELL = "sh"
"""Language of the blocks whose commands are typed; commands stand in no others."""
TIMEOUT_S = 550
_BLOCK = re.compile(
    r"^(?P<indent>[ \t]*)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<content>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_SERVES = "wconv-sweep dashboard"
# A reader types all blocks into one shell, which remembers variables and the folder.
_TYPED = """\
. "$0"
trap '{ declare -px; printf "cd %%q\\n" "$PWD"; } > "$0"' EXIT
set -euo pipefail
%s"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    """Name of the file that it shows, or where its commands work; may be empty."""
    content: str

    @property
    def is_file(self) -> bool:
        """Whether the reader is to save it under its title."""
        return re.fullmatch(r"[\w-]+\.\w+", self.title) is not None

    @property
    def is_typed(self) -> bool:
        """Whether its commands work wherever the reader is."""
        return self.language == SHELL and not self.title


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, from top to bottom."""
    return blocks_of(page.read_text("utf-8"))


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of what a page says."""
    return [
        Block(found["language"], found["title"] or "", dedent(found["content"]))
        for found in _BLOCK.finditer(text)
    ]


def text_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def follow(
    page: str, folder: Path, programs: Path = PROGRAMS, *, as_root: dict[str, str] | None = None
) -> str:
    """From top to bottom, save the files of a page and type its commands; return what they print.

    A title that is no file's name says where the commands work: those are left out.

    Args:
        page: of the documentation, from the root of the repository; test_docs.py reads it here.
        folder: to work in.
        programs: folder of the installed command.
        as_root: what root has to type instead, by what the page has.
    """
    with tempfile.TemporaryDirectory() as name:
        shell = _Shell(folder, programs, Path(name))
        for block in blocks(ROOT / page):
            if block.is_file:
                (folder / block.title).write_text(block.content, "utf-8")
                (folder / block.title).chmod(0o755)
            elif block.is_typed:
                typed = block.content
                for words, others in (as_root or {}).items() if os.geteuid() == 0 else ():
                    typed = typed.replace(words, others)
                shell.type(typed)
    return shell.printed


class _Shell:
    """The shell of a reader, who has nothing set but the path to the program."""

    def __init__(self, folder: Path, programs: Path, own: Path) -> None:
        self._environment = {
            "PATH": f"{programs}:{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "COLUMNS": "200",
        }
        self._folder = folder
        self._state = own / "state"
        self._state.touch()
        self.printed = ""

    def type(self, commands: str) -> None:
        """Type the lines of a block; one that serves until Ctrl-C comes last, and gets it."""
        lines = commands.splitlines()
        serves = lines[-1].split("#")[0].strip() == _SERVES
        self._run("\n".join(lines[:-1] if serves else lines))
        if serves:
            self.printed += served(self._folder, self._environment)

    def _run(self, commands: str) -> None:
        # Into files: a server that is started here would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            with subprocess.Popen(
                ["bash", "-c", _TYPED % commands, str(self._state)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            ) as typed:
                try:
                    typed.wait(TIMEOUT_S)
                finally:
                    if typed.poll() is None:
                        os.killpg(typed.pid, signal.SIGKILL)  # what it has started, too
            output.seek(0)
            errors.seek(0)
            printed = output.read()
            assert typed.returncode == 0, (commands, printed, errors.read())
        self.printed += printed


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


def pages() -> Iterator[Path]:
    """Yield all pages of the repository."""
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
