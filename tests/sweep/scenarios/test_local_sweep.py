"""Whole studies on this machine: real pilots, real ranks, and everything that can go wrong."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from sqlalchemy import func, select

from tests.once import once_per_run
from tests.sweep.nursery import ForkedSweep, called
from tests.sweep.tiny import TINY, StudyFile, Sweep
from wconv_sweep.cli.views.status import status_json
from wconv_sweep.errors import StorageError
from wconv_sweep.evidence.study_status import read_status
from wconv_sweep.storage.open_storage import choose_url, open_storage
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.storage.tables import ATTEMPTS, SLOTS

pytestmark = pytest.mark.slow

LONG = {
    "recipe": {
        "optimizer": {"name": "adam", "lr": 0.003},
        "epochs": 10,
        "batch_size": 8,
        "dtype": "float64",
    },
    "data": {"name": "photographs", "options": {"crop_px": 32, "crops_per_epoch": 128}},
}


def launch(path: Path, *more: str) -> list[str]:
    return ["launch", "--cluster", "local", "--study", str(path), *more]


def status_of(sweep: Sweep) -> dict[str, Any]:
    (status,) = json.loads(sweep.run("status", "--study", "tiny", "--json"))
    assert isinstance(status, dict)
    return status


def await_status(sweep: Sweep, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look at the study until it is as wanted."""
    status: dict[str, Any] = {}
    for _ in until(deadline_s=120):
        # Not before the study is written: the tables come first.
        if "tiny" in known_studies(sweep):
            break
    storage = open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    with contextlib.closing(storage):
        for _ in until(deadline_s=120):
            status = status_json(read_status(storage, "tiny"))
            if reached(status):
                return status
    raise AssertionError(status)


def known_studies(sweep: Sweep) -> list[str]:
    try:
        storage = open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    except StorageError:
        return []
    names = study_names(storage)
    storage.close()
    return names


def until(deadline_s: float) -> Iterator[None]:
    """Let a loop look at something again and again until the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        yield
        threading.Event().wait(0.1)


def training(status: dict[str, Any]) -> bool:
    """Return whether a search trial of ten epochs is in its middle, and not about to end."""
    return any(1 <= row["epoch"] <= 6 and row["trial"] >= 1 for row in status["running"])


def processes_of(sweep: Sweep, pattern: str) -> list[int]:
    """Return the processes of the sweep's folder whose command line holds a pattern."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().decode().replace("\0", " ")
                inside = (folder / "cwd").resolve() == sweep.folder.resolve()
            except OSError:
                continue
            if inside and pattern in command:
                found.append(int(folder.name))
    return found


def agent_of(sweep: Sweep) -> int:
    (agent,) = processes_of(sweep, "wconv_sweep.pilots.pilot")
    return agent


def rank_of(sweep: Sweep) -> int:
    """Return the one rank: the fork server's child, which has its command line."""
    family = processes_of(sweep, "multiprocessing.forkserver")
    stats = {process: Path(f"/proc/{process}/stat").read_text("utf-8") for process in family}
    parents = {process: int(stat.rpartition(")")[2].split()[1]) for process, stat in stats.items()}
    (rank,) = [process for process, parent in parents.items() if parent in family]
    return rank


def assert_all_gone(sweep: Sweep) -> None:
    """Wait until no process of the sweep is left."""
    for _ in until(deadline_s=60):
        if not processes_of(sweep, "python"):
            return
    raise AssertionError(processes_of(sweep, "python"))


def results_of(sweep: Sweep) -> list[tuple[Any, ...]]:
    """Return what the study measured, bit for bit, times aside."""
    entry = json.loads(sweep.run("export", "--format", "json"))[0]
    results = []
    for name in ("best", "plain"):
        metrics = {key: v for key, v in entry[name]["metrics"].items() if key != "epoch_s"}
        results.append((entry[name]["trial"], entry[name]["density"], metrics))
    return results


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the long study measures when nothing happens to it."""
    return once_per_run(tmp_path_factory, "undisturbed", _undisturbed)


def _undisturbed(folder: Path) -> list[tuple[Any, ...]]:
    sweep = ForkedSweep(folder)
    sweep.run(*launch(sweep.write_study(**LONG)))
    return results_of(sweep)


def assert_finished_like(sweep: Sweep, undisturbed: list[tuple[Any, ...]]) -> None:
    status = status_of(sweep)
    assert (status["state"], status["ended"], status["slots"]["complete"]) == ("complete", 3, 3)
    assert results_of(sweep) == undisturbed
    assert optuna_states(sweep) == ["COMPLETE"] * 3
    assert_all_gone(sweep)


def optuna_states(sweep: Sweep) -> list[str]:
    """Return what Optuna, in a process of its own, takes the states of the trials for."""
    return called(_optuna_states, f"sqlite:///{sweep.folder}/wconv_runs/sweep.db")


def _optuna_states(url: str) -> list[str]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="tiny", storage=url)
    return [trial.state.name for trial in study.trials]


def test_a_launch_runs_to_the_result_and_a_second_one_only_shows_it(
    started_sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(trial={"ranks": 2}, reference_densities={"paper": [0.8]})

    first = started_sweep.run(*launch(path))
    second = started_sweep.run(*launch(path))

    for output in (first, second):
        assert "[3/3] trial 2" in output
        for row in ("plain baseline", "noisy input", "20.17 dB"):
            assert row in output
        assert "wconv-sweep export --study tiny" in output
    assert "trial 0 (plain), density (1), epoch 2/2, PSNR" in first
    assert "trial 1 (paper), density (0.8), epoch 2/2, PSNR" in first
    assert optuna_states(started_sweep) == ["COMPLETE"] * 3
    assert_all_gone(started_sweep)


def test_a_classifier_is_searched_like_a_denoiser(sweep: Sweep, study_file: StudyFile) -> None:
    path = study_file(
        model={"name": "tiny", "options": {"num_classes": 4}},
        data={"name": "textures", "options": {"patches_per_class": 16}},
        objective={"metric": "accuracy"},
        trial={"ranks": 2},
    )

    output = sweep.run(*launch(path))

    entry = json.loads(sweep.run("export", "--format", "json"))[0]
    assert "accuracy on the test set" in output
    assert 0 <= entry["best"]["metrics"]["test_accuracy"] <= 1
    assert entry["plain"]["density"] == [1.0]


def test_the_export_holds_what_a_reader_needs(sweep: Sweep, study_file: StudyFile) -> None:
    sweep.run(*launch(study_file()))

    (entry,) = yaml.safe_load(sweep.run("export"))

    assert entry == json.loads(sweep.run("export", "--format", "json"))[0]
    assert entry["architecture"] == "dncnn"
    assert entry["trials"] == {"complete": 3}
    best, plain = entry["best"], entry["plain"]
    assert entry["density"] == best["density"]
    assert entry["difference"]["validation"] == best["validation"] - plain["validation"]
    assert entry["claim"] == "best observed single run; not confirmed on fresh seeds"
    assert set(entry["provenance"]) >= {"wconv_sweep", "config_sha256", "torch", "device"}


def test_ctrl_c_leaves_a_study_that_resume_finishes(
    started_sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    process = started_sweep.start(*launch(study_file(**LONG)))
    await_status(started_sweep, training)

    # Ctrl-C in a terminal reaches every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 130, errors
    assert "Resume with: wconv-sweep resume --study tiny" in output
    assert_all_gone(started_sweep)
    stopped = status_of(started_sweep)
    assert (stopped["state"], stopped["running"]) == ("stopped", [])
    assert stopped["ended"] < 3
    started_sweep.run("resume", "--study", "tiny")
    assert_finished_like(started_sweep, undisturbed)


def test_stop_ends_trials_at_a_checkpoint_and_launch_goes_on(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    path = study_file(**LONG)
    sweep.run(*launch(path, "--detach"))
    await_status(sweep, training)

    sweep.run("stop", "--study", "tiny")
    assert_all_gone(sweep)

    assert status_of(sweep)["state"] == "stopped"
    sweep.run(*launch(path))
    assert_finished_like(sweep, undisturbed)


def test_a_killed_agent_takes_its_ranks_along_and_resume_continues_its_trial(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    sweep.run(*launch(study_file(**LONG), "--detach"))
    before = await_status(sweep, training)

    os.kill(agent_of(sweep), signal.SIGKILL)
    assert_all_gone(sweep)
    sweep.run("resume", "--study", "tiny")

    assert before["running"][0]["attempt"] == 1
    assert_finished_like(sweep, undisturbed)


def test_a_killed_rank_costs_an_attempt_and_no_epoch(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    sweep.run(*launch(study_file(**LONG), "--detach"))
    await_status(sweep, training)

    os.kill(rank_of(sweep), signal.SIGKILL)
    sweep.run("resume", "--study", "tiny")

    (failure,) = status_of(sweep)["failures"]
    assert failure["error"] == "RankDied"
    assert "rank 0 was killed (SIGKILL)" in failure["reason"]
    assert_finished_like(sweep, undisturbed)


def test_a_second_launch_beside_a_running_one_starts_no_second_pilot(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    path = study_file(**LONG)
    sweep.run(*launch(path, "--detach"))
    await_status(sweep, training)
    agent = agent_of(sweep)

    output = sweep.run(*launch(path))

    assert "plain baseline" in output
    assert not processes_of(sweep, str(agent))
    assert_finished_like(sweep, undisturbed)


def test_two_launches_at_the_same_moment_have_one_effect(
    sweep: Sweep, study_file: StudyFile
) -> None:
    both = [sweep.start(*launch(study_file(), "--json")) for _ in range(2)]

    printed = [process.communicate(timeout=300) for process in both]

    assert [process.returncode for process in both] == [0, 0], printed
    storage = open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    with storage.read() as connection:
        slots = connection.execute(select(SLOTS).order_by(SLOTS.c.position)).all()
        attempts = connection.scalar(select(func.count()).select_from(ATTEMPTS))
    storage.close()
    assert [(slot.position, slot.state, slot.attempt) for slot in slots] == [
        (position, "complete", 1) for position in range(3)
    ]
    assert attempts == 3
    for output, _ in printed:
        assert json.loads(output)["slots"]["complete"] == 3


def test_a_terminal_that_closes_does_not_end_the_study(
    started_sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    process = started_sweep.start(*launch(study_file(**LONG)))
    await_status(started_sweep, training)

    os.killpg(process.pid, signal.SIGHUP)
    process.communicate(timeout=60)

    await_status(started_sweep, lambda status: bool(status["state"] == "complete"))
    assert_finished_like(started_sweep, undisturbed)


def test_a_larger_budget_continues_a_finished_study(sweep: Sweep, study_file: StudyFile) -> None:
    sweep.run(*launch(study_file()))
    before = results_of(sweep)[1]

    sweep.run(*launch(study_file(budget={"trials": 4})))

    assert status_of(sweep)["slots"]["complete"] == 4
    assert results_of(sweep)[1] == before


def test_another_search_space_under_the_same_name_is_refused(
    sweep: Sweep, study_file: StudyFile
) -> None:
    sweep.run(*launch(study_file()))
    before = status_of(sweep)

    other = study_file(search={"bounds": [[0.1, 1.0]], "sampler": {"name": "random"}})
    errors = sweep.run(*launch(other), status=2)

    assert "search.bounds was [[0.5, 1.5]], is now [[0.1, 1.0]]" in errors
    assert errors.count("\n") == 1
    assert status_of(sweep) == before


def test_a_study_whose_trials_would_all_break_stops_itself_and_says_why(
    sweep: Sweep, study_file: StudyFile
) -> None:
    # A classifier on a task of images: every trial would end with the same exception.
    path = study_file(model={"name": "tiny", "options": {"num_classes": 4}}, budget={"trials": 20})

    errors = sweep.run(*launch(path), status=1)

    status = status_of(sweep)
    assert "was stopped by its circuit breaker: a failure: JobError at " in errors
    assert status["state"] == "broken"
    (failure,) = status["failures"]
    assert (failure["count"], status["ended"]) == (1, 0)
    assert "Traceback" in failure["traceback"]
    assert "Traceback" in sweep.run("status", "--study", "tiny")
    assert_all_gone(sweep)


def test_files_left_by_a_deleted_storage_are_not_mixed_with_a_new_study(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file()
    sweep.run(*launch(path))
    checkpoint = sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt"
    before = checkpoint.read_bytes()
    for file in (sweep.folder / "wconv_runs").glob("sweep.db*"):
        file.unlink()

    errors = sweep.run(*launch(path), status=2)

    assert "wconv_runs/tiny: holds the files of a study in another storage" in errors
    assert errors.count("\n") == 1
    assert checkpoint.read_bytes() == before
    assert known_studies(sweep) == []


def test_an_unusable_checkpoint_costs_an_attempt_and_is_set_aside(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    sweep.run(*launch(study_file(**LONG), "--detach"))
    trial = await_status(sweep, training)["running"][0]["trial"]
    sweep.run("stop", "--study", "tiny")
    assert_all_gone(sweep)
    folder = sweep.folder / f"wconv_runs/tiny/trial_{trial:05d}"
    (folder / "checkpoint.pt").write_bytes(b"damaged")

    sweep.run("resume", "--study", "tiny")

    (failure,) = status_of(sweep)["failures"]
    assert (failure["error"], failure["count"]) == ("CheckpointError", 1)
    assert (folder / "checkpoint.unusable").read_bytes() == b"damaged"
    assert_finished_like(sweep, undisturbed)


def test_an_agent_that_cannot_work_says_why_instead_of_dying(
    sweep: Sweep, study_file: StudyFile
) -> None:
    # A file lies where the agent wants to make the folder of its second trial.
    (sweep.folder / "wconv_runs/tiny").mkdir(parents=True)
    (sweep.folder / "wconv_runs/tiny/trial_00001").write_text("in the way")

    output = sweep.run(*launch(study_file()))

    status = status_of(sweep)
    assert "2 trials complete, 1 failed" in output
    assert [(each["error"], each["count"]) for each in status["failures"]] == [
        ("NotADirectoryError", 3)
    ]


def test_resume_runs_on_the_cluster_of_the_last_launch(
    sweep: Sweep, study_file: StudyFile
) -> None:
    profile = sweep.folder / "two.yaml"
    facts = "schema: 1\ncluster: two\nlauncher: local\npilots: 2\ngpus_per_pilot: 0\n"
    profile.write_text(f"{facts}walltime_min: 60\n", "utf-8")
    path = study_file(**LONG)
    sweep.run("launch", "--cluster", "two.yaml", "--study", str(path), "--detach")
    await_status(sweep, training)
    sweep.run("stop", "--study", "tiny")
    assert_all_gone(sweep)

    sweep.run("resume", "--study", "tiny", "--detach")

    await_status(sweep, lambda status: bool(status["state"] == "complete"))
    pilots = sweep.folder / "wconv_runs/tiny/pilots"
    orders = sorted(each.name for each in pilots.glob("pilot_*.json"))
    assert orders == ["pilot_0.json", "pilot_1.json"]
    assert_all_gone(sweep)


def test_a_resume_while_the_pilot_is_still_stopping_goes_on(
    sweep: Sweep, study_file: StudyFile, undisturbed: list[tuple[Any, ...]]
) -> None:
    sweep.run(*launch(study_file(**LONG), "--detach"))
    await_status(sweep, training)

    os.kill(agent_of(sweep), signal.SIGTERM)
    output = sweep.run("resume", "--study", "tiny")

    assert "plain baseline" in output
    assert_finished_like(sweep, undisturbed)


def test_a_pilot_ends_before_its_time_is_up_and_leaves_a_checkpoint(
    sweep: Sweep, study_file: StudyFile
) -> None:
    profile = sweep.folder / "short.yaml"
    facts = "schema: 1\ncluster: short\nlauncher: local\npilots: 1\ngpus_per_pilot: 0\n"
    profile.write_text(f"{facts}walltime_min: 1\ngrace_s: 50\n", "utf-8")
    path = study_file(recipe=TINY["recipe"] | {"epochs": 5000})

    errors = sweep.run("launch", "--cluster", str(profile), "--study", str(path), status=1)

    status = status_of(sweep)
    assert "ended before the study: their time was up" in errors
    assert status["slots"]["open"] == 3
    assert (sweep.folder / "wconv_runs/tiny/trial_00000/checkpoint.pt").exists()
    # One attempt: what has no time for an epoch is not begun again.
    assert not (sweep.folder / "wconv_runs/tiny/trial_00000/attempt_2").exists()
    assert_all_gone(sweep)


def test_a_diverged_trial_fails_with_its_reason_and_the_study_goes_on(
    sweep: Sweep, study_file: StudyFile
) -> None:
    path = study_file(
        reference_densities={"absurd": [1e7]},
        recipe={"optimizer": {"name": "sgd", "lr": 0.01}, "epochs": 2, "batch_size": 8},
    )

    output = sweep.run(*launch(path))

    status = status_of(sweep)
    assert "2 trials complete, 1 failed" in output
    assert status["slots"]["failed"] == 1
    assert status["failures"][0]["error"] == "TrainingDiverged"


HALVED = LONG | {
    "budget": {"trials": 6},
    "search": {
        "bounds": [[0.5, 1.5]],
        "sampler": {"name": "random"},
        "pruner": {"name": "asha", "min_epochs": 1, "reduction_factor": 2},
    },
}


def ends_of(sweep: Sweep) -> list[tuple[str, int, float | None]]:
    """Return how each slot ended, after how many epochs, with which value."""
    storage = open_storage(choose_url(None, sweep.folder / "wconv_runs", {}))
    trials = read_status(storage, "tiny").trials
    storage.close()
    return [(str(row.state), row.epoch, row.value) for row in trials]


def test_a_pruned_study_ends_like_an_undisturbed_one_when_its_agent_is_killed(
    sweep: Sweep, study_file: StudyFile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = ForkedSweep(tmp_path_factory.mktemp("undisturbed"))
    path = study_file(**HALVED)
    output = undisturbed.run(*launch(path))
    sweep.run(*launch(path, "--detach"))

    for _ in range(3):
        before = await_status(sweep, training)
        os.kill(agent_of(sweep), signal.SIGKILL)
        assert_all_gone(sweep)
        sweep.run("resume", "--study", "tiny", "--detach")
        ended = before["ended"]
        await_status(
            sweep,
            lambda status, ended=ended: bool(status["ended"] > ended),  # type: ignore[misc]
        )
    await_status(sweep, lambda status: bool(status["state"] == "complete"))

    ends = ends_of(sweep)
    assert ends == ends_of(undisturbed)
    states = [state for state, _, _ in ends]
    assert (states[0], ends[0][1]) == ("complete", 10)
    assert states.count("pruned") >= 2
    assert states.count("pruned") + states.count("complete") == 6
    assert all(epoch < 10 for state, epoch, _ in ends if state == "pruned")
    assert f"{states.count('pruned')} pruned, 0 failed." in output
    assert optuna_states(sweep) == [state.upper() for state in states]
    entry = json.loads(sweep.run("export", "--format", "json"))[0]
    assert entry["trials"]["pruned"] == states.count("pruned")
    assert_all_gone(sweep)
