"""docs/own-program.md, followed word for word; and a program that is killed goes on."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.jobs.trials import is_alive, wait_until
from tests.pages import blocks, follow
from tests.sweep.scenarios.test_local_sweep import (
    agent_of,
    assert_all_gone,
    await_status,
    launch,
)
from tests.sweep.tiny import Sweep, run
from wconv_jobs.messages import Finished, Report
from wconv_sweep.doctor import trainer_check
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import config_of
from wconv_sweep.study.files import load_study
from wconv_sweep.study.point import Point
from wconv_sweep.study.program_trial import program_trial
from wconv_sweep.study.trainer import TrainerSpec

STUDY: dict[str, Any] = {
    "schema": 1,
    "study": "tiny",
    "kernel_size": 3,
    "code": ".",
    "trainer": {
        "program": "train.py",
        "arguments": ["--gain={gain}", "{density}"],
        "options": {"gain": 2.0},
        "reports": 3,
        "preload": ["json"],
    },
    "objective": {"metric": "score", "goal": "maximize"},
    "search": {"bounds": [[0.5, 1.5]], "sampler": {"name": "random"}},
    "budget": {"trials": 2},
    "trial": {"ranks": 2},
}

# What it reports tells which attempt trained which epoch.
PROGRAM = """
import json, os, sys, time
from wconv_trial import begin

trial = begin()
assert sys.argv[1:] == ["--gain=2.0", ",".join(map(str, trial.density))], sys.argv
rank = os.environ["RANK"]
state = trial.folder / ("state-%s.json" % rank)
trained = json.loads(state.read_text()) if state.exists() else []
with open(str(trial.folder / "attempts"), "a") as attempts:
    attempts.write("%s %d %d\\n" % (rank, len(trained), os.getpid()))
while not trial.resumed and len(open(str(trial.folder / "attempts")).readlines()) < 2:
    time.sleep(0.01)  # for the other rank, as a collective would
for epoch in range(len(trained), 3):
    if epoch == 1 and not trial.resumed:
        while not trial.should_stop:  # until the agent is killed
            time.sleep(0.01)
    trained.append(epoch)
    answer = trial.report(epoch + 1, score=trial["gain"] * sum(trained) * trial.density[0])
    state.write_text(json.dumps(trained))
    if answer.stop:
        sys.exit()
trial.finish(test_score=trial.density[0])
"""


def _write(folder: Path, **changed: Any) -> Path:
    (folder / "train.py").write_text(PROGRAM, "utf-8")
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(STUDY | changed), "utf-8")
    return path


@pytest.mark.slow
def test_the_page_can_be_followed_word_for_word(tmp_path: Path) -> None:
    printed = follow("docs/own-program.md", tmp_path)

    assert "2 trials complete, 0 failed" in printed
    assert "1 trials complete, 0 failed" in printed
    assert "`checkpoint.pt` is stored as the program has written it" in (
        tmp_path / "networks/stripes/README.md"
    ).read_text("utf-8")
    assert "architecture: train.py" in (tmp_path / "stripes_density.yaml").read_text("utf-8")


@pytest.mark.slow
def test_a_program_whose_agent_is_killed_goes_on_from_its_checkpoint(sweep: Sweep) -> None:
    sweep.run(*launch(_write(sweep.folder), "--detach", "--set", "budget.trials=1"))
    await_status(sweep, lambda status: any(row["epoch"] == 1 for row in status["running"]))
    os.kill(agent_of(sweep), signal.SIGKILL)
    assert_all_gone(sweep)
    attempts = sweep.folder / "wconv_runs/tiny/trial_00000/program/attempts"
    programs = [int(line.split()[2]) for line in attempts.read_text().splitlines()]
    wait_until(lambda: not any(map(is_alive, programs)))

    sweep.run("resume", "--study", "tiny")

    (entry,) = json.loads(sweep.run("export", "--format", "json"))
    assert len(programs) == 2
    assert json.loads((attempts.parent / "state-0.json").read_text()) == [0, 1, 2]
    begun = [line.rpartition(" ")[0] for line in attempts.read_text().splitlines()]
    assert sorted(begun) == ["0 0", "0 1", "1 0", "1 1"]
    assert entry["objective"] == {"metric": "score", "direction": "maximize"}
    assert entry["plain"]["metrics"]["test_score"] == 1.0
    assert entry["plain"]["validation"] == 6.0


@pytest.mark.slow
def test_the_check_says_what_a_program_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path)
    (tmp_path / "train.py").write_text(
        "import random\n"
        "from wconv_trial import begin\n"
        "trial = begin()\n"
        "(trial.folder / 'weights').touch()\n"
        "score = 1.0 if trial.density == (1.0,) else random.random()\n"
        "for epoch in range(3):\n"
        "    if trial.report(epoch + 1, score=score).stop: raise SystemExit\n",
        "utf-8",
    )

    status, output, _ = run(monkeypatch, capsys, "trainers", "check", str(path))

    assert status == 0
    assert "reports after each step" in output
    assert "stops when it is told to, after step 2" in output
    assert "starts again after an interruption" in output
    assert "reports the same numbers for the same seed and density" in output
    assert "reports other numbers for density (0.5) than for plain convolution" in output
    assert "its 2 ranks have no process group of torch.distributed with each other" in output
    assert "2 to look at" in output


def _checked(steps: list[int], ending: Any, stop_after: int, folder: Path) -> list[str]:
    """Return what is said of a run that ended so, of a program with three reports."""
    config = load_study(str(_write(folder)))
    reports = [Report(epoch=step, metrics={"score": 1.0}, epoch_s=1.0) for step in steps]
    finished = Finished(ending=ending, epoch=steps[-1], metrics={}, provenance={})
    run = trainer_check._Run(stop_after, finished, reports)
    return [
        check.what
        for check in trainer_check._stopped_and_resumed(config, run, (1.0,), folder / "none")
    ]


def test_the_check_tells_a_program_that_finishes_early_from_one_that_does_not_stop(
    tmp_path: Path,
) -> None:
    assert _checked([1], "complete", 2, tmp_path) == [
        "finished at step 1, but trainer.reports is 3"
    ]
    assert _checked([1, 2, 3], "complete", 2, tmp_path) == [
        "was told to stop after report 2, and finished instead"
    ]
    assert _checked([3], "complete", 1, tmp_path) == []


def test_init_writes_a_study_of_a_program_and_shows_the_lines_to_add(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_folder / "mine").mkdir()
    (empty_folder / "mine/train.py").touch()
    init = ("studies", "init", "net", "--program", "mine/train.py")

    status, output, _ = run(monkeypatch, capsys, *init)
    again = run(monkeypatch, capsys, *init)

    config = load_study("net.yaml")
    assert status == 0
    assert "trial = begin()" in output
    assert config.trainer is not None
    assert (config.trainer.program, config.code_folder) == ("train.py", empty_folder / "mine")
    assert again[0] == 2
    assert run(monkeypatch, capsys, "studies", "check", "net.yaml")[0] == 0
    shown = run(monkeypatch, capsys, "studies", "show", "net.yaml")[1]
    assert re.search(r"^program: +train\.py$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"trainer": {"reports": 3}}, "trainer: names no program. Give one of"),
        ({"trainer": {"program": "x.py", "reports": 3}}, "is x.py, which is no Python file in"),
        ({"trainer": {"program": "train.py"}}, "trainer.reports: is required, but missing"),
        ({"trainer": {"program": "train.py", "module": "m", "reports": 1}}, "names a program and"),
        (
            {"trainer": {"program": "train.py", "reports": 3, "arguments": ["{lrr}"]}},
            "trainer.arguments: has {lrr}, which nothing fills in. Known are density, seed,",
        ),
        (
            {"trainer": {"program": "train.py", "reports": 3, "python": "env/bin/python"}},
            "trainer.python: is no command, or a path that starts nowhere.",
        ),
        (
            {"trainer": {"program": "train.py", "reports": 3, "env": {"RANK": "0", "WHO": "me"}}},
            "trainer.env: has RANK, which says what rank a process is, or its GPUs. Remove it.",
        ),
        (
            {"trainer": {"program": "train.py", "reports": 3, "env": {"ROLE_RANK": "0"}}},
            "trainer.env: has ROLE_RANK, which says what rank a process is, or its GPUs.",
        ),
        ({"code": None}, "trainer.program: is train.py, but `code` is missing."),
        ({"data": {"name": "photographs"}}, "data: is for our own trainer, but train.py trains"),
        ({"objective": {"metric": "score"}}, "objective.goal: is missing: is more or less of"),
        (
            {"objective": {"metric": "accuracy", "goal": "minimize"}},
            "objective.goal: is minimize, but accuracy is one to maximize.",
        ),
        (
            {"objective": {"metric": "accuracy", "unit": "mm"}},
            "objective.unit: is for a metric of your own; accuracy knows its unit. Remove it.",
        ),
        ({"objective": {"metric": "a-b", "goal": "minimize"}}, "which no program can report"),
        (
            {"search": STUDY["search"] | {"also": {"recipe.optimizer.lr": {"choices": [1, 2]}}}},
            "search.also.recipe.optimizer.lr: is not below trainer.options, which train.py gets.",
        ),
        ({"sites": {"exclude": ["head"]}}, "sites: is for our own trainer"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    path = _write(tmp_path, **changed)

    with pytest.raises(ConfigurationError) as caught:
        load_study(str(path))

    assert any(problem in line for line in caught.value.problems), caught.value.problems


def test_the_command_of_a_trial_is_the_interpreter_the_program_and_its_arguments() -> None:
    file = TrainerSpec(
        program="train.py",
        arguments=["--config={name}.yaml", '{"a": 1}', "{density}", "{seed}", "{folder}"],
        options={"name": "nafnet"},
        reports=1,
    )
    module = TrainerSpec(module="mine.train", python=["apptainer", "exec", "python"], reports=1)

    assert file.command("python", (0.5, 1.0), 7, Path("/runs")) == [
        *("python", "train.py", "--config=nafnet.yaml", '{"a": 1}', "0.5,1.0", "7", "/runs"),
    ]
    assert module.command("python", (1.0,), 7, Path("/runs")) == [
        *("apptainer", "exec", "python", "-m", "mine.train"),
    ]


def test_options_of_a_program_are_searched_with_the_density(tmp_path: Path) -> None:
    also = {"trainer.options.gain": {"low": 1.0, "high": 3.0}}
    search = STUDY["search"] | {"also": also}
    config = load_study(str(_write(tmp_path, search=search, budget={"trials": 5})))

    trial = program_trial(config, Point((0.8,), (("trainer.options.gain", 3.0),)), 0, tmp_path)

    assert trial.options == {"gain": 3.0}
    assert trial.command[1:] == ("train.py", "--gain=3.0", "0.8")
    assert config.own_settings() == (("trainer.options.gain", 2.0),)


def test_what_only_our_own_trainer_does_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = ("--cluster", "local", "--study", str(_write(tmp_path)))

    for command in (("launch", "--smoke"), ("launch", "--ablate"), ("calibrate",)):
        status, _, errors = run(monkeypatch, capsys, *command, *study)

        assert status == 2
        assert "train.py trains this study" in errors


def test_the_stored_definition_is_read_as_it_was(tmp_path: Path) -> None:
    config = load_study(str(_write(tmp_path)))
    ours = load_study("quickstart")

    assert config_of(config.plain()) == config
    assert config_of(config.plain()).digest() == config.digest()
    # The definitions of studies without a trainer are what they were.
    assert "trainer" not in ours.plain()
    assert ours.plain()["objective"] == {"metric": "psnr_db"}


def test_the_page_has_a_valid_study(tmp_path: Path) -> None:
    for block in blocks(Path(__file__).parents[3] / "docs/own-program.md"):
        if block.is_file:
            (tmp_path / block.title).write_text(block.content, "utf-8")

    assert load_study(str(tmp_path / "stripes.yaml")).recipe.epochs == 3
