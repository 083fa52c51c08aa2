"""The program that measures a GPU runs without one, and its page has what it would print."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import gpu

ROOT = Path(__file__).parents[1]
BASE = "one eager float32 trial at a time"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_page_has_every_way_that_is_measured() -> None:
    assert gpu.markdown({}).strip() in (ROOT / "docs" / "gpu.md").read_text("utf-8")


def test_all_ways_but_those_of_bfloat16_are_equal_up_to_rounding() -> None:
    studies = [gpu.study(name, tiny=False) for name in gpu.NETWORKS]

    assert {study.recipe.batch_size for study in studies} == {128, 16}
    assert {study.recipe.dtype for study in studies} == {"float32"}
    for way, shape in gpu.WAYS.items():
        assert (shape.amp == "bfloat16") == ("bfloat16" in way)
        assert shape.lanes == shape.per_gpu  # on one GPU


def test_without_a_gpu_it_says_so_in_one_line_and_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(SystemExit) as ended:
        gpu.main(["--output", str(tmp_path / "build")])

    out, error = capsys.readouterr()
    assert ended.value.code == 2
    assert (out, error) == ("", f"{gpu.NO_GPU}\n")
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
def test_on_a_cpu_the_same_program_measures_and_writes_its_files(tmp_path: Path) -> None:
    shared = "2 eager trials per GPU"

    ended = run(
        *("--device", "cpu", "--seconds", "0.1", "--rounds", "1", "--output", str(tmp_path)),
        *("--networks", "dncnn", "--ways", shared),
    )

    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    measured = found["networks"]["dncnn"]["measured"]
    assert {each["shape"]["per_gpu"] for each in measured} == {1, 2}
    assert found["device"] == "cpu"
    table = (tmp_path / "gpu.md").read_text("utf-8")
    assert table.strip() == ended.stdout.strip()
    (base,) = (line for line in table.splitlines() if "MiB" in line and BASE in line)
    assert "| 1.00 [1.00, 1.00] |" in base
    assert sum("MiB" in line for line in table.splitlines()) == 2
