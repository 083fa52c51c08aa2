"""Programs of the user's own as ranks: the agent sees of them what it sees of our own."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.jobs.trials import Recorder, is_alive, ranks_of, wait_until
from tests.pages import ROOT
from wconv_jobs.messages import Broken, Demand, Finished, Verdict
from wconv_jobs.program_trial import ProgramTrial
from wconv_jobs.ranks.node_order import NodeOrder
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.program_channel import ProgramChannel
from wconv_jobs.ranks.program_environment import program_environment
from wconv_jobs.ranks.program_failure import program_broke
from wconv_jobs.ranks.run import RanksAborted, run_ranks

LOOP = """
import json, os, signal, sys, time
from wconv_trial import begin

trial = begin()
rank = os.environ["RANK"]
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
state = trial.folder / "state.json"
first = json.loads(state.read_text()) if state.exists() else 0
with open("trace-%s" % rank, "a") as trace:
    trace.write("%s %s %s\\n" % (first, trial.resumed, os.getpid()))


def save(epoch):
    if rank == "0":
        state.write_text(json.dumps(epoch))


for epoch in range(first, epochs):
    answer = trial.report(epoch + 1, accuracy=trial.density[0] * (epoch + 1))
    save(epoch + 1)
    if answer.stop:
        sys.exit()
trial.finish(weights=state, test_accuracy=trial["gain"], seed=trial.seed)
"""


# What its process group holds, and what has left it: a service, and one whose parent has ended.
LEAVES_BEHIND = """
import subprocess
sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
orphan = "import subprocess, sys; print(subprocess.Popen(%r, stdout=-3).pid)"
left = [subprocess.Popen(sleeper, start_new_session=own).pid for own in (False, True)]
left.append(int(subprocess.check_output([sys.executable, "-S", "-c", orphan % (sleeper,)])))
(trial.folder / "left").write_text(" ".join(map(str, left)))
"""


def _left_behind(trial: ProgramTrial) -> list[int]:
    return [int(pid) for pid in (trial.program_folder / "left").read_text().split()]


def _trial(
    folder: Path, program: str = LOOP, *arguments: str, forked: bool = False
) -> ProgramTrial:
    code = folder / "code"
    code.mkdir(exist_ok=True)
    (code / "train.py").write_text(program, "utf-8")
    return ProgramTrial(
        # Without site-packages, or forked from a process that has loaded something.
        command=(sys.executable, *([] if forked else ["-S"]), "train.py", *arguments),
        preload=("json",) if forked else (),
        env={"WHO": "me"},
        options={"gain": 0.5},
        metric="accuracy",
        reports=3,
        density=(0.8,),
        seed=17,
        checkpoint_folder=folder / "trial",
        code_folder=code,
    )


def _run(
    trial: ProgramTrial,
    recorder: Recorder | None = None,
    *,
    ranks: int = 1,
    demand: Demand = Demand.GO,
) -> Finished | Broken:
    result = run_ranks(
        trial,
        placement=Placement(ranks),
        log_folder=trial.checkpoint_folder / "attempt",
        on_report=recorder or Recorder(),
        on_tick=lambda: demand,
    )
    assert ranks_of(os.getpid()) == []
    return result


@pytest.mark.slow
@pytest.mark.parametrize("forked", [False, True], ids=["new interpreter", "forked"])
def test_a_program_on_two_ranks_is_stopped_resumed_and_complete(
    tmp_path: Path, forked: bool
) -> None:
    first, second = Recorder({2: Verdict.STOP}), Recorder()

    stopped = _run(_trial(tmp_path, forked=forked), first, ranks=2)
    complete = _run(_trial(tmp_path, forked=forked), second, ranks=2)

    assert isinstance(stopped, Finished), stopped.traceback
    assert isinstance(complete, Finished), complete.traceback
    assert (stopped.ending, stopped.epoch, complete.ending, complete.epoch) == (
        *("stopped", 2, "complete", 3),
    )
    assert first.metrics == [{"accuracy": 0.8}, {"accuracy": 1.6}]
    assert second.epochs == [3]
    times = complete.metrics.pop("epoch_s")
    assert times >= 0
    assert complete.metrics == {"accuracy": pytest.approx(2.4), "test_accuracy": 0.5, "seed": 17}
    assert complete.provenance["python"].startswith(sys.version.split()[0])
    assert complete.provenance["steady_epochs"] == "1"
    assert complete.provenance["weights_file"] == "state.json"
    for rank in range(2):
        lines = (tmp_path / f"code/trace-{rank}").read_text().splitlines()
        assert [line.split()[1] for line in lines] == ["False", "True"]


@pytest.mark.slow
def test_a_program_whose_trial_is_pruned_ends_after_that_report(tmp_path: Path) -> None:
    program = LOOP.replace("if answer.stop:", "if answer.stop and answer.pruned:")
    recorder = Recorder({2: Verdict.PRUNE})

    result = _run(_trial(tmp_path, program), recorder)

    assert isinstance(result, Finished), result.reason
    assert (result.ending, result.epoch, recorder.epochs) == ("pruned", 2, [1, 2])


@pytest.mark.slow
def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    trial = _trial(tmp_path).model_copy(update={"command": ("/no/bin/python", "train.py")})

    result = _run(trial)

    assert isinstance(result, Broken)
    assert result.reason == (
        "the program cannot be started: No such file or directory: /no/bin/python. Correct "
        "trainer.python."
    )
    assert not result.final


NO_LOOP = LOOP.replace("range(first, epochs)", "()").replace("weights=state, ", "")
TWICE = LOOP.replace("    save(epoch", "    trial.report(epoch + 1, accuracy=0.5)\n    save(epoch")
WRONG = [
    ("print('hello')", "the program ended without wconv_trial.begin()."),
    (NO_LOOP.replace("trial.finish(", "dict("), "the program ended without a report."),
    (NO_LOOP, "the program finished without a report."),
    (LOOP.replace("accuracy=", "loss=", 1), "report(1, ...) has loss, but the objective of the"),
    (LOOP.replace("accuracy=", "accuracy=float('nan') +"), "accuracy is nan at step 1"),
    (TWICE, "report(1, ...): step 1 was reported already, and steps rise."),
    (LOOP.replace("trial.finish(", "dict("), "ended after step 3 without trial.finish(...)"),
]


@pytest.mark.slow
def test_wrong_programs_are_broken_with_a_sentence_each(tmp_path: Path) -> None:
    for number, (program, said) in enumerate(WRONG):
        folder = tmp_path / str(number)
        folder.mkdir()

        result = _run(_trial(folder, program))

        assert isinstance(result, Broken)
        assert said in result.reason
        assert result.final is ("without trial.finish" not in said)


@pytest.mark.slow
def test_the_rank_that_raised_is_the_cause_and_its_peers_end(tmp_path: Path) -> None:
    program = LOOP.replace(
        "    save(epoch",
        "    if rank == '1': raise KeyError('x')\n    time.sleep(600)\n    save(epoch",
    )

    result = _run(_trial(tmp_path, program), ranks=2)

    assert isinstance(result, Broken)
    assert (result.rank, result.error, result.reason) == (1, "KeyError", "'x'")
    assert result.where.startswith("train.py:")
    assert "raise KeyError" in result.traceback
    assert not result.final
    pids = [int(path.read_text().split()[-1]) for path in (tmp_path / "code").glob("trace-*")]
    assert len(pids) == 2
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.slow
def test_all_ranks_stop_at_the_same_step_when_a_checkpoint_is_demanded(tmp_path: Path) -> None:
    program = LOOP.replace(
        "for epoch in",
        "steps = 0\n"
        "while not trial.should_stop:\n"
        "    steps += 1\n"
        "    time.sleep(0.001 * (1 + int(rank)))\n"
        "(trial.folder / rank).write_text(str(steps))\n"
        "sys.exit()\n"
        "for epoch in",
    )
    trial = _trial(tmp_path, program)

    result = _run(trial, ranks=2, demand=Demand.CHECKPOINT)

    assert isinstance(result, Finished), result.reason
    assert (result.ending, result.epoch) == ("stopped", 0)
    steps = [(trial.program_folder / str(rank)).read_text() for rank in range(2)]
    assert steps[0] == steps[1]


@pytest.mark.slow
@pytest.mark.parametrize("forked", [False, True], ids=["new interpreter", "forked"])
def test_a_program_that_does_not_end_gets_sigterm_and_is_killed(
    tmp_path: Path, forked: bool
) -> None:
    program = LOOP.replace(
        "for epoch in",
        "def on_term(*_):\n"
        "    (trial.folder / 'termed').touch()\n"
        "signal.signal(signal.SIGTERM, on_term)\n"
        "(trial.folder / 'pid').write_text(str(os.getpid()))\n"
        "while not (trial.folder / 'termed').exists():\n"
        "    time.sleep(0.01)\n"
        "os._exit(0)\n"
        "for epoch in",
    )
    trial = _trial(tmp_path, program, forked=forked)
    pid = trial.program_folder / "pid"

    with pytest.raises(RanksAborted):
        run_ranks(
            trial,
            placement=Placement(1),
            log_folder=tmp_path / "logs",
            on_report=Recorder(),
            on_tick=lambda: Demand.ABORT if pid.exists() else Demand.GO,
        )

    assert (trial.program_folder / "termed").exists()
    assert not is_alive(int(pid.read_text()))


@pytest.mark.slow
def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    trial = _trial(tmp_path, LOOP.replace("for epoch in", f"{LEAVES_BEHIND}\nfor epoch in"))

    result = _run(trial)

    assert isinstance(result, Finished), result.reason
    assert len(_left_behind(trial)) == 3
    wait_until(lambda: not any(map(is_alive, _left_behind(trial))))


@pytest.mark.slow
@pytest.mark.parametrize("forked", [False, True], ids=["new interpreter", "forked"])
def test_a_program_ends_with_its_rank_whoever_kills_that(tmp_path: Path, forked: bool) -> None:
    program = LOOP.replace("for epoch in", f"{LEAVES_BEHIND}\ntime.sleep(600)\nfor epoch in")
    trial = _trial(tmp_path, program, forked=forked)
    left = trial.program_folder / "left"
    trace = tmp_path / "code/trace-0"

    def kill() -> Demand:
        if left.exists() and left.read_text():
            for pid in ranks_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
        return Demand.GO

    result = run_ranks(
        trial,
        placement=Placement(1),
        log_folder=tmp_path / "logs",
        on_report=Recorder(),
        on_tick=kill,
    )

    assert isinstance(result, Broken)
    assert result.error == "RankDied"
    pids = [int(trace.read_text().split()[-1]), *_left_behind(trial)]
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_program_is_told_its_rank_as_torchrun_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}/mine")
    given = {"WHO": "me", "OMP_NUM_THREADS": "7", "RANK": "0", "CUDA_VISIBLE_DEVICES": "0"}
    trial = _trial(tmp_path).model_copy(update={"env": given})
    order = NodeOrder(
        trial=trial,
        ranks=4,
        ranks_here=2,
        first_rank=2,
        devices=(2, 3),
        address="n1",
        port=1234,
        log_folder=tmp_path,
    )

    with ProgramChannel() as channel:
        env = program_environment(order, trial, channel, 4321)
        theirs = program_environment(
            order, trial.model_copy(update={"env": {"PYTHONPATH": "/theirs"}}), channel, 4321
        )
        without_gpus = program_environment(
            order.model_copy(update={"devices": ()}), trial, channel, 4321
        )
        packages = sorted(path.name for path in channel.packages.iterdir())

    assert (env["RANK"], env["WORLD_SIZE"], env["LOCAL_WORLD_SIZE"]) == ("3", "4", "2")
    assert (env["NODE_RANK"], env["GROUP_WORLD_SIZE"]) == ("1", "2")
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("n1", "4321")
    # Lightning starts ranks of its own without the first.
    assert (env["TORCHELASTIC_RUN_ID"], env["TORCHELASTIC_RESTART_COUNT"]) == ("wconv-sweep", "0")
    assert (env["ROLE_RANK"], env["ROLE_WORLD_SIZE"]) == ("3", "4")
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-c,GPU-d"
    # Its own packages, and none of ours but these two.
    assert env["PYTHONPATH"] == f"{channel.packages}{os.pathsep}/mine"
    assert packages == ["wconv_kernels", "wconv_trial"]
    assert theirs["PYTHONPATH"] == f"{channel.packages}{os.pathsep}/theirs"
    # Accelerate takes no notice of the other ranks otherwise.
    assert without_gpus["ACCELERATE_USE_CPU"] == "true"
    assert "ACCELERATE_USE_CPU" not in env
    # What the study adds changes no rank.
    assert (env["WHO"], env["OMP_NUM_THREADS"]) == ("me", "7")


def test_a_program_finds_the_modules_beside_it_unless_the_study_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as pilots are started
    trial = _trial(tmp_path)
    order = NodeOrder(
        trial=trial, ranks=1, ranks_here=1, address="n1", port=0, log_folder=tmp_path
    )

    with ProgramChannel() as channel:
        env = program_environment(order, trial, channel, 4321)
        asked = trial.model_copy(update={"env": {"PYTHONSAFEPATH": "1"}})
        safe = program_environment(order, asked, channel, 4321)

    assert "PYTHONSAFEPATH" not in env
    assert safe["PYTHONSAFEPATH"] == "1"


def test_a_program_that_broke_before_it_began_says_why() -> None:
    printed = (
        "W1130 something from a library\n"
        "[rank1]: Traceback (most recent call last):\n"
        '[rank1]:   File "/home/me/train.py", line 3, in <module>\n'
        "[rank1]:     import missing\n"
        "[rank1]: ModuleNotFoundError: No module named 'missing'\n"
        "[rank1]:[W1130] destroy_process_group() was not called\n"
    )

    raised = program_broke(1, printed, 1)
    left = program_broke(3, "usage: train.py\ntrain.py: error: no such option\n", 0)
    killed = program_broke(-signal.SIGSEGV, printed, 0)
    hidden = program_broke(1, printed.replace("missing", "wconv_trial"), 0)
    told = program_broke(128 + signal.SIGTERM, "Terminated\n", 1)

    assert (raised.error, raised.where) == ("ModuleNotFoundError", "train.py:3")
    assert raised.reason == "No module named 'missing'"
    assert raised.traceback.endswith("ModuleNotFoundError: No module named 'missing'\n")
    assert left.reason == (
        "the program of rank 0 exited with status 3: train.py: error: no such option"
    )
    assert killed.reason == "rank 0 was ended by SIGSEGV"
    # By a shell or a container around it, which then is no failure of the program's own.
    # As in a container that gets another PYTHONPATH, or does not show its folders.
    assert hidden.reason.startswith("No module named 'wconv_trial': PYTHONPATH, or what it names,")
    assert (told.error, told.reason) == ("RankDied", "rank 1 was ended by SIGTERM")
