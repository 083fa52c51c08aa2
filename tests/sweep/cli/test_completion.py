"""The shell completes commands, options and names, without loading anything slow."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("wconv-sweep")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bash(*lines: str) -> str:
    """Return what a bash of no configuration prints."""
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout


def completed(*words: str, setup: str = 'eval "$(wconv-sweep --show-completion)"') -> list[str]:
    """Return what bash offers for the last word, by the function that it is told to use."""
    typed = shlex.join(["wconv-sweep", *words])
    return bash(
        setup,
        f"COMP_WORDS=({typed})",
        f"COMP_CWORD={len(words)}",
        "function=$(complete -p wconv-sweep | sed 's/.*-F \\([^ ]*\\) .*/\\1/')",
        '"$function" wconv-sweep',
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ).splitlines()


@pytest.mark.slow
def test_bash_completes_commands_and_names(home: Path) -> None:
    (home / "mine.yaml").touch()
    profiles = home / ".config" / "wconv-sweep" / "clusters"
    profiles.mkdir(parents=True)
    (profiles / "lab.yaml").touch()
    (home / "wconv_runs" / "old").mkdir(parents=True)
    (home / "wconv_runs" / "old" / "study_id").touch()
    (home / "elsewhere" / "older").mkdir(parents=True)
    (home / "elsewhere" / "older" / "study_id").touch()

    assert completed("stu") == ["studies"]
    assert completed("studies", "i") == ["init"]
    assert completed("launch", "--study", "dncnn_") == [
        *("dncnn_3x3", "dncnn_5x5", "dncnn_7x7", "dncnn_photographs")
    ]
    assert completed("launch", "--study", "mi") == ["mine.yaml"]
    assert completed("launch", "--cluster", "l") == ["lab", "leonardo", "local", "lumi"]
    assert completed("clusters", "show", "le") == ["leonardo"]
    assert completed("resume", "--study", "") == ["old"]
    assert completed("stop", "--runs", "elsewhere", "--study", "") == ["older"]


@pytest.mark.slow
def test_installed_completion_is_there_in_a_new_bash(home: Path) -> None:
    # With a second command bash stays, and is the shell that is found; it would become the first.
    bash("wconv-sweep --install-completion", "true")

    assert completed("doc", setup="source ~/.bashrc") == ["doctor"]


def test_zsh_gets_a_function_of_its_own_and_names(home: Path) -> None:
    def asked(instruction: str, **variables: str) -> str:
        return subprocess.run(
            [PROGRAM],
            env=os.environ | {"_WCONV_SWEEP_COMPLETE": instruction} | variables,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert asked("source_zsh").lstrip().startswith("#compdef wconv-sweep\n")
    typed = asked("complete_zsh", _TYPER_COMPLETE_ARGS="wconv-sweep launch --cluster leo")
    assert "leonardo" in typed


def test_completing_names_loads_nothing_slow(home: Path) -> None:
    code = (
        "import sys\n"
        "from wconv_sweep.cli.completion import complete_clusters, complete_studies\n"
        "assert complete_clusters('leo') == ['leonardo']\n"
        "assert complete_studies('quick') == ['quickstart']\n"
        "slow = {'torch', 'optuna', 'submitit', 'sqlalchemy', 'numpy'}\n"
        "print(sorted(slow & sys.modules.keys()))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "[]\n"


@pytest.mark.slow
def test_the_singular_of_studies_is_understood() -> None:
    ended = subprocess.run([PROGRAM, "study", "list"], capture_output=True, text=True, check=False)

    assert ended.returncode == 0
    shown = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    assert "\n  study " not in shown
