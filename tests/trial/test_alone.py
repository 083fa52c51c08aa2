"""A program that takes part in studies runs for itself as before, in any environment."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

SOURCES = ROOT / "trial"

PROGRAM = """
from wconv_trial import begin

trial = begin(lr=0.1)
print(trial.density, trial["lr"], trial.seed, trial.folder.parent.name, trial.resumed)
for epoch in range(2):
    if trial.should_stop or trial.report(epoch + 1, accuracy=0.5 + epoch / 4).stop:
        break
trial.finish(test_accuracy=0.75)
"""


def _run(
    folder: Path, program: str, python: str = sys.executable, **variables: str
) -> "subprocess.CompletedProcess[str]":
    # Without site-packages: there is the standard library, and nothing else.
    return subprocess.run(
        [python, "-S", "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_outside_of_a_study_a_program_is_plain_and_prints_what_it_reports(tmp_path: Path) -> None:
    ended = _run(tmp_path, PROGRAM)

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "(1.0,) 0.1 0 wconv_alone False",
        "step 1: accuracy 0.5",
        "step 2: accuracy 0.75",
        "finished: test_accuracy 0.75",
    ]


def test_outside_of_a_study_a_variable_gives_the_density_and_rank_0_alone_prints(
    tmp_path: Path,
) -> None:
    ended = _run(tmp_path, PROGRAM, WCONV_DENSITY="0.8,1.1", RANK="1")

    assert ended.stdout == "(0.8, 1.1) 0.1 0 wconv_alone False\n"
    wrong = _run(tmp_path, PROGRAM, WCONV_DENSITY="plain")
    assert "WCONV_DENSITY is 'plain', which is no density. Write its" in wrong.stderr


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("trial['width']", "no option 'width' (it has: none). Name it in trainer.options"),
        ("trial.report(0, a=1)", "report(0, ...): a step is the number of finished epochs"),
        ("[trial.report(1, a=1) for _ in 'ab']", "report(1, ...): step 1 was reported already"),
        ("trial.report(1, a='x')", "a is 'x' at step 1, which is not a number"),
        ("trial.report(1, a=float('nan'))", "TrialDiverged: a is nan at step 1"),
        ("trial.finish(a=float('inf'))", "TrialDiverged: a is inf at the end"),
        ("trial.finish(weights='x.pt')", "finish(weights='x.pt'): is no file in the folder of"),
        ("trial.finish(weights=wconv_trial.__file__)", "is no file in the folder of the trial, /"),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(tmp_path: Path, call: str, said: str) -> None:
    ended = _run(tmp_path, f"import wconv_trial\ntrial = wconv_trial.begin()\n{call}")

    assert ended.returncode == 1
    assert said in ended.stderr.splitlines()[-1]


def test_the_package_is_written_in_python_3_8() -> None:
    for path in sorted((SOURCES / "wconv_trial").glob("*.py")):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


def test_the_package_runs_in_an_old_python(tmp_path: Path) -> None:
    python = os.environ.get("WCONV_TEST_OLD_PYTHON") or shutil.which("python3.8")
    if python is None or _run(tmp_path, "", python).returncode != 0:
        pytest.skip("there is no python3.8, and WCONV_TEST_OLD_PYTHON names none")

    ended = _run(tmp_path, PROGRAM, python)

    assert ended.stderr == ""
    assert ended.stdout.endswith("finished: test_accuracy 0.75\n")
