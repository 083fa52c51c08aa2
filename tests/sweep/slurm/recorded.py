"""SLURM's commands that answer with what real ones have printed, and what they were asked."""

import shlex
from pathlib import Path

import pytest


class RecordedSlurm:
    """Programs in a folder of its own, first in PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._rules: dict[str, str] = {}
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def says(
        self, program: str, *words: str, output: str = "", errors: str = "", status: int = 0
    ) -> None:
        """Let a program answer to a command line that holds these words in this order.

        The first answer that fits is given.
        """
        pattern = "*" + "".join(f"{shlex.quote(word)}*" for word in words)
        answer = f"printf %s {shlex.quote(output)}; printf %s {shlex.quote(errors)} >&2"
        rules = self._rules.get(program, "") + f"{pattern}) {answer}; exit {status};;\n"
        self._rules[program] = rules
        path = self._folder / program
        asked = f'echo "{program} $*" >> {shlex.quote(str(self._calls))}'
        path.write_text(
            f'#!/bin/bash\n{asked}\ncase "$*" in\n{rules}esac\necho "{program} $*" >&2; exit 99\n',
            "utf-8",
        )
        path.chmod(0o755)

    def calls(self, program: str = "") -> list[str]:
        """Return the command lines so far, of all programs or of one."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text("utf-8").splitlines()
        return [line for line in lines if line.startswith(f"{program} " if program else "")]

    @property
    def _calls(self) -> Path:
        return self._folder / "calls"
