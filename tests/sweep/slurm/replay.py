"""What SLURM's programs printed in several versions, and programs that print it again.

`recorded/VERSION/SCENE/` has one file for each command, written by `python -m tests.slurm.record`.
"""

import os
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("22.05.8", "24.11.5", "26.05.5")
PROGRAMS = ("squeue", "sacct", "scontrol", "sacctmgr", "sbatch")

# The name of a command: its words without options, filters and numbers of jobs.
NAME = """\
name=${0##*/}
for word; do
  case $word in
    -* | *=* | [0-9]*) ;;
    *) name=${name}_$word ;;
  esac
done
"""


def write_programs(folder: Path, script: str) -> None:
    """Write a program in the place of each of SLURM's.

    Args:
        folder: of the programs.
        script: in bash; `$name` tells the commands apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        path = folder / program
        path.write_text(f"#!/bin/bash\n{NAME}{script}", "utf-8")
        path.chmod(0o755)


def replay(monkeypatch: pytest.MonkeyPatch, folder: Path, version: str, scene: str) -> None:
    """Let SLURM's programs print what they did in a scene, and fail where they did.

    Args:
        monkeypatch: changes PATH.
        folder: for the programs.
        version: one of `VERSIONS`.
        scene: of the recording.
    """
    said = RECORDED / version / scene
    assert said.is_dir()
    script = f'if [ -e "{said}/$name.err" ]; then cat "{said}/$name.err" >&2; exit 1; fi\n'
    write_programs(folder, f'{script}cat "{said}/$name"\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
