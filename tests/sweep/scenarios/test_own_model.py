"""docs/own-model.md, followed word for word, leads to a density applied to the user's network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import follow
from tests.sweep.tiny import Sweep, run
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.study.code_files import MAX_FILE_BYTES, MAX_FILES
from wconv_sweep.study.files import load_study
from wconv_sweep.study.own_modules import freeze_modules, frozen_modules, modules_sha256


@pytest.mark.slow
def test_the_page_can_be_followed_word_for_word(tmp_path: Path) -> None:
    printed = follow("docs/own-model.md", tmp_path)

    assert "architecture: stripes:build" in (tmp_path / "stripes_density.yaml").read_text("utf-8")
    assert "6 trials complete, 0 failed" in printed
    (copied,) = (tmp_path / "wconv_runs/stripes/own_code").iterdir()
    assert (copied / "stripes.py").read_text() == (tmp_path / "stripes.py").read_text()
    networks = tmp_path / "networks/stripes"
    card = (networks / "README.md").read_text("utf-8")
    (load,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "`stripes` is the study's own module" in card
    subprocess.run(
        [sys.executable, "-c", load],
        cwd=networks,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=True,
    )


@pytest.mark.slow
def test_edits_change_nothing_that_was_launched_and_are_refused_at_the_next_launch(
    sweep: Sweep,
) -> None:
    sweep.run("studies", "init", "mine")
    study = ("launch", "--cluster", "local", "--study", "mine.yaml")
    small = ("--set", "recipe.epochs=1", "--set", "data.options.samples=32")
    sweep.run(*study, *small, "--set", "budget.trials=2")
    (sweep.folder / "mine.py").write_text(
        "def build(): raise RuntimeError\n\n\ndef load(): pass\n"
    )

    refused = sweep.run(*study, "--set", "model.options={}", "--set", "data.options={}", status=2)
    (sweep.folder / "mine.py").write_text(
        (sweep.folder / "wconv_runs/mine/own_code").glob("*/mine.py").__next__().read_text()
        + "# edited\n"
    )
    edited = sweep.run(*study, *small, "--set", "budget.trials=3", status=2)
    accepted = sweep.run(*study, *small, "--set", "budget.trials=3", "--accept-changes")

    assert "with another definition" in refused
    assert "the study's own code was" in edited
    assert "3 trials complete" in accepted
    assert len(list((sweep.folder / "wconv_runs/mine/own_code").iterdir())) == 2


def test_the_template_is_valid_and_overwrites_nothing(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(monkeypatch, capsys, "studies", "init", "my-net")
    again = run(monkeypatch, capsys, "studies", "init", "my-net")
    wrong = run(monkeypatch, capsys, "studies", "init", "../x")

    assert first[0] == 0
    assert load_study("my-net.yaml").model.name == "my_net:build"
    assert load_study("my-net.yaml").code_folder == empty_folder
    assert again[0] == 2
    assert "already exists and is not overwritten" in again[2]
    assert wrong[0] == 2


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("kind: classification # or", "# or", "data.kind: is missing: for data of your own"),
        ("code: .", "code: nowhere", "/nowhere, which is not a folder"),
        ("mine:build #", "mine:buidl #", "has no function 'buidl'; did you mean 'build'?"),
        ("{width: 8}", "{wdth: 8}", "unknown option 'wdth'; did you mean 'width'? known: width."),
        ("mine:load #", "photographs #", "'photographs' knows its task. Leave it out."),
        ("metric: accuracy", "metric: psnr_db", "but data 'mine:load' gives accuracy, macro_f1"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    problem: str,
) -> None:
    run(monkeypatch, capsys, "studies", "init", "mine")
    path = empty_folder / "mine.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")

    with pytest.raises(ConfigurationError) as caught:
        load_study("mine.yaml")
    assert any(problem in line for line in caught.value.problems)


def test_the_copy_holds_the_modules_and_nothing_else(tmp_path: Path) -> None:
    source, runs = tmp_path / "source", tmp_path / "runs"
    for name in ("a.py", "inner/b.py", ".hidden/c.py", "__pycache__/d.py", "venv/lib/e.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "venv/pyvenv.cfg").touch()
    (source / "data.bin").write_bytes(b"0")
    before = modules_sha256(source)

    copy = freeze_modules(source, runs)
    (source / "a.py").write_text("changed")

    found = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    assert found == ["a.py", "inner/b.py"]
    assert modules_sha256(copy) == before != modules_sha256(source)
    assert freeze_modules(copy, runs) == copy


def test_small_files_that_modules_may_read_are_copied_with_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").touch()
    (source / "arch.json").write_text("{}")
    (source / "large.csv").write_bytes(b"0" * (MAX_FILE_BYTES + 1))
    (source / "photograph.tiff").touch()
    (source / "mine.yaml").write_text("schema: 1\nstudy: mine\n")
    runs = tmp_path / "runs"
    before = modules_sha256(source)

    copy = freeze_modules(source, runs)

    assert sorted(path.name for path in copy.iterdir()) == ["a.py", "arch.json"]
    assert modules_sha256(copy) == before
    (source / "mine.yaml").write_text("schema: 1\nstudy: mine\nseed: 1\n")
    assert modules_sha256(source, runs) == before
    # It would be another network; a study of before goes on with its modules alone.
    (source / "arch.json").write_text("[]")
    assert modules_sha256(source, runs) != before
    (copy / "arch.json").unlink()
    (runs / "own_code_files" / f"{copy.name}.json").unlink()
    copy.rename(frozen_modules(runs, modules_sha256(copy)))
    assert frozen_modules(runs, modules_sha256(source, runs)).is_dir()


def test_what_a_program_writes_into_its_copy_changes_nothing(tmp_path: Path) -> None:
    source, runs = tmp_path / "source", tmp_path / "runs"
    source.mkdir()
    (source / "train.py").touch()
    copy = freeze_modules(source, runs)
    before = modules_sha256(source)

    (copy / "log.csv").write_text("1\n")
    (source / "log.csv").touch()

    # Launched again, after another tool has written beside the modules.
    assert freeze_modules(source, runs) == copy
    assert modules_sha256(copy) == before
    (source / "train.py").write_text("edited = True")
    assert modules_sha256(source, runs) != before
    (copy / "train.py").write_text("edited = True")
    assert modules_sha256(copy) != before


def test_what_other_tools_write_beside_the_modules_changes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source"
    runs = RunFolder.of(source / "runs", "mine")
    runs.create("1")
    (source / "a.py").touch()
    before = modules_sha256(source, runs.path)
    copy = freeze_modules(source, runs.path)
    (runs.code / "program").mkdir(parents=True)
    (runs.code / "program/module.py").touch()
    assert modules_sha256(source) == before  # run folders hold nobody's modules

    (source / "wandb/run-1").mkdir(parents=True)
    (source / "wandb/run-1/a.py").touch()

    assert modules_sha256(source) != before
    assert modules_sha256(source, runs.path) == before
    assert freeze_modules(source, runs.path) == copy
    (source / "a.py").write_text("edited = True")
    assert modules_sha256(source, runs.path) != before


@pytest.mark.slow
def test_a_study_whose_runs_lie_among_its_modules_goes_on(sweep: Sweep) -> None:
    sweep.run("studies", "init", "mine")
    module = sweep.folder / "mine.py"
    module.write_text(
        "from pathlib import Path\n"
        "WIDTH = int((Path(__file__).parent / 'width.txt').read_text())\n"
        + module.read_text("utf-8")
    )
    (sweep.folder / "width.txt").write_text("8")
    study = ("launch", "--cluster", "local", "--study", "mine.yaml", "--runs", "runs")
    small = ("--set", "recipe.epochs=1", "--set", "data.options.samples=32")

    sweep.run(*study, *small, "--set", "budget.trials=2")
    (sweep.folder / "wandb").mkdir()
    (sweep.folder / "wandb/mine.py").touch()
    went_on = sweep.run(*study, *small, "--set", "budget.trials=3")

    assert "3 trials complete, 0 failed" in went_on


def test_check_looks_at_the_copy_that_pilots_will_run(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, capsys, "studies", "init", "mine")
    text = (empty_folder / "mine.py").read_text("utf-8")
    reads = "from pathlib import Path\n(Path(__file__).parent / 'arch.{}').read_bytes()\n"
    for ending, expected in (("json", 0), ("tiff", 2)):
        (empty_folder / f"arch.{ending}").write_bytes(b"{}")
        (empty_folder / "mine.py").write_text(reads.format(ending) + text, "utf-8")

        status, _, errors = run(monkeypatch, capsys, "studies", "check", "mine.yaml")

        assert status == expected, errors
    assert "FileNotFoundError" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nn.ReLU()", "nn.RReLU()", r"layer '1' \(RReLU\) draws random numbers"),
        ("return ", "return print('hello') or ", None),
        ("torch.randint(2,", "5 * torch.randint(2,", r"logits \(B, classes\) for 6 classes"),
    ],
)
def test_check_tries_a_network_as_trials_will(
    empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    said: str | None,
) -> None:
    run(monkeypatch, capsys, "studies", "init", "mine")
    path = empty_folder / "mine.py"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    study = empty_folder / "mine.yaml"
    study.write_text(study.read_text("utf-8").replace("ranks: 1", "ranks: 2"), "utf-8")

    status, output, errors = run(monkeypatch, capsys, "studies", "check", "mine.yaml")

    assert status == (2 if said else 0), errors
    assert said is None or re.search(rf"^wconv-sweep: study mine: model: .*{said}", errors, re.M)
    assert "hello" not in output


def test_a_study_leaves_layers_plain_that_the_density_cannot_scale(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, capsys, "studies", "init", "mine")
    path = empty_folder / "mine.py"
    subclass = "class Mine(nn.Conv2d):\n    pass\n\n\ndef build("
    text = path.read_text("utf-8").replace("def build(", subclass, 1)
    path.write_text(re.sub(r"nn\.Conv2d\((\w+), ", r"Mine(\1, ", text, count=1), "utf-8")
    check, show = ("studies", "check", "mine.yaml"), ("studies", "show", "mine.yaml")

    refused, _, errors = run(monkeypatch, capsys, *check)
    (remedy,) = re.findall(r"`(sites: .*)` in the study", errors)
    with (empty_folder / "mine.yaml").open("a") as file:
        file.write(f"{remedy}\n")
    accepted, _, _ = run(monkeypatch, capsys, *check)
    _, shown, _ = run(monkeypatch, capsys, *show)
    (layer,) = re.findall(r'\["(.*)"\]', remedy)

    assert (refused, accepted) == (2, 0)
    assert re.search(rf"^left plain: +{layer}$", shown, re.MULTILINE)


def test_a_folder_full_of_modules_is_refused(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / f"m{number}.py").touch()

    with pytest.raises(ConfigurationError, match="holds more than 2000 modules"):
        modules_sha256(tmp_path)
