"""Ranks as real processes: they agree, break, die and are ended, and the agent learns how."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.jobs.ranks import rank_doubles
from tests.jobs.trials import (
    Recorder,
    classification,
    denoising,
    fork_server_of,
    is_alive,
    ranks_of,
    same_state,
    saved,
    wait_until,
)
from wconv_jobs.messages import STEADY_EPOCHS, Broken, Demand, Finished, Report, Verdict
from wconv_jobs.ranks import launcher, out_of_memory, rank_process
from wconv_jobs.ranks.agent_signals import AGENT_SIGNALS
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.ranks.run import RanksAborted, run_ranks
from wconv_jobs.recipe.optimizer import SgdSpec
from wconv_jobs.spec import TrialSpec
from wconv_jobs.training.loop import train

pytestmark = pytest.mark.slow

Double = Callable[[Path, bytes], None]


def _run(
    spec: TrialSpec,
    on_report: Callable[[Report], Verdict],
    *,
    ranks: int = 2,
    devices: tuple[int, ...] = (),
    on_tick: Callable[[], Demand] = lambda: Demand.GO,
    on_first_step: Callable[[], None] = lambda: None,
) -> Finished | Broken:
    logs = spec.checkpoint_folder.parent / f"logs of {spec.checkpoint_folder.name}"
    result = run_ranks(
        spec,
        placement=Placement(ranks, devices),
        log_folder=logs,
        on_report=on_report,
        on_tick=on_tick,
        on_first_step=on_first_step,
    )
    assert ranks_of(os.getpid()) == []
    return result


def _finished(result: Finished | Broken) -> Finished:
    assert isinstance(result, Finished), result.reason + result.traceback
    return result


def _untimed(result: Finished) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name != "epoch_s"}


def _broken(result: Finished | Broken) -> Broken:
    assert isinstance(result, Broken)
    return result


def _logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.rglob("*.log")))


# All together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norm", "dtype", "tolerance"),
    # As shipped networks train: images and weights pixel by pixel, which float64 does not have.
    [("batch", "float64", 1e-10), ("none", "float32", 1e-4)],
)
def test_two_ranks_train_and_score_like_one_and_print_nothing(
    tmp_path: Path,
    norm: Literal["batch", "none"],
    dtype: Literal["float32", "float64"],
    tolerance: float,
) -> None:
    one, two = Recorder(), Recorder()
    alone = train(denoising(tmp_path / "one", norm=norm, dtype=dtype), one)

    together = _finished(_run(denoising(tmp_path / "two", norm=norm, dtype=dtype), two))

    # The one picture of the validation set is scored by rank 0, none by rank 1.
    assert together.ending == "complete"
    assert together.epoch == 3
    assert two.epochs == [1, 2, 3]
    for metrics, expected in zip(two.metrics, one.metrics, strict=True):
        assert metrics == pytest.approx(expected, rel=tolerance, abs=0)
    assert together.metrics["epoch_s"] > 0
    assert _untimed(together) == pytest.approx(alone.metrics, rel=tolerance, abs=0)
    raw, expected_raw = (
        saved(tmp_path / name)["optimizer"]["density_engine"]["weights"] for name in ("two", "one")
    )
    for name, weight in raw.items():
        expected_weight = expected_raw[name]
        torch.testing.assert_close(weight, expected_weight, rtol=tolerance, atol=tolerance / 100)
    assert _logs(tmp_path) == ""


def test_the_result_says_where_it_was_computed(tmp_path: Path) -> None:
    result = _finished(_run(classification(tmp_path / "trial", epochs=3), Recorder(), ranks=1))

    assert result.provenance["torch"] == torch.__version__
    assert (result.provenance["ranks"], result.provenance["threads"]) == ("1", "1")
    assert result.provenance[STEADY_EPOCHS] == "2"
    assert result.provenance.keys() == {
        *("torch", "cuda", "driver", "device", "ranks", "threads", "host", STEADY_EPOCHS),
    }


def test_two_ranks_that_are_stopped_and_resumed_end_bitwise_like_two_that_are_not(
    tmp_path: Path,
) -> None:
    whole, first, second = Recorder(), Recorder({2: Verdict.STOP}), Recorder()
    expected = _finished(_run(denoising(tmp_path / "whole"), whole))

    stopped = _finished(_run(denoising(tmp_path / "parts"), first))
    resumed = _finished(_run(denoising(tmp_path / "parts"), second))

    assert (stopped.ending, stopped.epoch, resumed.ending) == ("stopped", 2, "complete")
    assert _untimed(resumed) == _untimed(expected)
    assert (first.epochs, second.epochs) == ([1, 2], [2, 3])
    assert whole.metrics == first.metrics + second.metrics[1:]
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


def test_two_ranks_killed_between_checkpoint_and_verdict_lose_nothing(tmp_path: Path) -> None:
    def kill_at_2(report: Report) -> Verdict:
        if report.epoch == 2:
            for pid in ranks_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
        return Verdict.CONTINUE

    whole, second = Recorder(), Recorder()
    _run(classification(tmp_path / "whole"), whole)

    killed = _broken(_run(classification(tmp_path / "parts"), kill_at_2))
    resumed = _finished(_run(classification(tmp_path / "parts"), second))

    assert killed.error == "RankDied"
    assert resumed.ending == "complete"
    assert second.metrics == whole.metrics[1:]
    assert same_state(saved(tmp_path / "parts"), saved(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("verdict", "ending"), [(Verdict.PRUNE, "pruned"), (Verdict.STOP, "stopped")]
)
def test_all_ranks_obey_a_verdict_at_the_end_of_the_epoch(
    tmp_path: Path, verdict: Verdict, ending: str
) -> None:
    recorder = Recorder({1: verdict})

    result = _finished(_run(classification(tmp_path / "trial"), recorder))

    # Finished, not Broken: every rank has ended with status 0.
    assert (result.ending, result.epoch, result.metrics) == (ending, 1, {})
    assert recorder.epochs == [1]
    assert len(saved(tmp_path / "trial")["reports"]) == 1


def test_buffers_are_the_same_on_all_ranks_when_they_validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.notes_buffers)
    folder = tmp_path / "trial"

    _finished(_run(classification(folder, epochs=1, batch_norm_over="rank"), Recorder()))

    one, other = (torch.load(folder / f"buffers-{number}.pt") for number in (0, 1))
    assert same_state(one, other)
    assert all(int(one[name]) == 3 for name in one if name.endswith("num_batches_tracked"))
    assert same_state(one, {name: saved(folder)["model"][name] for name in one})


def test_of_two_ranks_the_first_alone_writes_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.notes_who_writes_pictures)
    folder = tmp_path / "trial"

    _finished(_run(denoising(folder, epochs=1), Recorder()))

    assert [path.name for path in folder.glob("written-by-*")] == ["written-by-0"]
    assert [path.name for path in folder.glob("*.png")] == ["test_image_1.png"]


def test_a_demand_drops_the_evaluation_of_all_ranks_and_keeps_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.evaluates_for_ever)
    folder = tmp_path / "trial"

    def tick() -> Demand:
        return Demand.CHECKPOINT if (folder / "evaluating").exists() else Demand.GO

    steps: list[bool] = []
    result = _finished(
        _run(
            classification(folder),
            Recorder(),
            on_tick=tick,
            on_first_step=lambda: steps.append(True),
        )
    )

    assert (result.ending, result.epoch, steps) == ("stopped", 0, [True])
    assert (saved(folder)["reports"], saved(folder)["step"]) == ([], 3)


# Exceptions ------------------------------------------------------------------------------------


def test_a_diverged_training_is_final_and_says_where(tmp_path: Path) -> None:
    spec = denoising(tmp_path / "trial", norm="none", optimizer=SgdSpec(name="sgd", lr=1e200))

    result = _broken(_run(spec, Recorder()))

    assert (result.error, result.final) == ("TrainingDiverged", True)
    assert re.fullmatch(r"train_loss is (inf|nan) after epoch 1", result.reason)
    assert re.fullmatch(r"loop\.py:\d+", result.where)
    assert result.traceback.startswith("Traceback (most recent call last)")


def test_a_density_that_finds_no_convolution_is_final(tmp_path: Path) -> None:
    result = _broken(_run(denoising(tmp_path / "trial", density=(0.5, 0.8)), Recorder()))

    assert (result.error, result.final) == ("SiteError", True)


def test_the_exception_of_one_rank_is_told_and_not_that_of_the_peer_that_misses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.raises_on_rank_1)

    result = _broken(_run(classification(tmp_path / "trial"), Recorder()))

    assert (result.rank, result.error, result.final) == (1, "RuntimeError", False)
    assert result.reason == "rank 1 does not like its pictures"
    assert result.where.startswith("rank_doubles.py:")
    assert result.reason in _logs(tmp_path)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("gpu", "GpuMemoryRanOut", "GPU memory ran out (CUDA out of memory. Tried to allocate"),
        ("cublas", "GpuMemoryRanOut", "GPU memory ran out (CUDA error: CUBLAS_STATUS_ALLOC"),
        ("python", "HostMemoryRanOut", "host memory ran out (MemoryError)"),
        ("torch", "HostMemoryRanOut", "host memory ran out ("),
    ],
)
def test_a_rank_without_memory_says_which_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, error: str, message: str
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.runs_out_of_memory)
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "how").write_text(how, "utf-8")

    result = _broken(_run(classification(tmp_path / "trial"), Recorder(), ranks=1))

    # Not final: other processes may have had the memory.
    assert (result.error, result.where, result.final) == (error, "rank process", False)
    assert result.reason.startswith(message)
    assert "Use fewer" in result.reason
    assert "rank_doubles.py" in result.traceback


def test_a_rank_that_the_kernel_kills_for_its_memory_is_told_from_one_killed_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's count, before and after.
    counts = iter([4, 5])
    monkeypatch.setattr(out_of_memory, "oom_kills", lambda: next(counts))

    def kill(report: Report) -> Verdict:
        os.kill(ranks_of(os.getpid())[0], signal.SIGKILL)
        return Verdict.CONTINUE

    result = _broken(_run(classification(tmp_path / "trial"), kill, ranks=1))

    assert result.error == "HostMemoryRanOut"
    assert "the kernel has killed rank 0 for it" in result.reason


def test_what_ranks_print_is_in_the_log_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.talks)

    _finished(_run(classification(tmp_path / "trial", epochs=1), Recorder()))

    for text in ("rank 0 prints", "rank 0 warns", "rank 1 prints", "rank 1 warns"):
        assert text in _logs(tmp_path / "logs of trial")


def test_what_a_rank_has_printed_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.dies_talking)

    result = _broken(_run(classification(tmp_path / "trial", epochs=1), Recorder(), ranks=1))

    assert result.reason.startswith("rank 0 was killed (SIGKILL)")
    assert _logs(tmp_path / "logs of trial").splitlines() == ["Python prints", "C prints"]


# Sudden ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_that_is_killed_is_the_cause(tmp_path: Path, number: int) -> None:
    def kill(report: Report) -> Verdict:
        os.kill(ranks_of(os.getpid())[number], signal.SIGKILL)
        return Verdict.CONTINUE

    result = _broken(_run(classification(tmp_path / "trial"), kill))

    assert (result.rank, result.error, result.final) == (number, "RankDied", False)
    assert result.reason.startswith(f"rank {number} was killed (SIGKILL)")


def test_a_rank_that_ends_without_a_word_is_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.ends_on_rank_1)

    result = _broken(_run(classification(tmp_path / "trial"), Recorder()))

    assert (result.rank, result.error) == (1, "RankDied")
    assert result.reason == "rank 1 exited with status 3"


def test_a_rank_that_does_not_end_after_another_has_failed_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.ends_on_rank_1_and_freezes_on_rank_0)
    monkeypatch.setattr(launcher, "KILL_S", 0.1)

    result = _broken(_run(classification(tmp_path / "trial"), Recorder()))

    assert result.reason == "rank 1 exited with status 3"


def test_a_rank_that_breaks_after_the_result_does_not_spoil_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_process, "main", rank_doubles.ends_after_the_result)

    result = _finished(_run(classification(tmp_path / "trial", epochs=1), Recorder()))

    assert result.ending == "complete"


def test_signals_for_the_whole_job_leave_ranks_and_fork_server_to_the_agent(
    tmp_path: Path,
) -> None:
    signaled = []

    def signal_all(report: Report) -> Verdict:
        server = fork_server_of(os.getpid())
        assert server is not None
        signaled.append(server)
        for pid in (server, *ranks_of(os.getpid())):
            for number in AGENT_SIGNALS:
                os.kill(pid, number)
        return Verdict.CONTINUE

    result = _finished(_run(classification(tmp_path / "trial"), signal_all))

    assert result.ending == "complete"
    assert signaled == [fork_server_of(os.getpid())] * 3


def test_a_fork_server_that_has_died_is_replaced_for_the_next_trial(tmp_path: Path) -> None:
    _finished(_run(classification(tmp_path / "first", epochs=1), Recorder()))
    server = fork_server_of(os.getpid())
    assert server is not None
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_alive(server))

    result = _finished(_run(classification(tmp_path / "second", epochs=1), Recorder()))

    assert result.ending == "complete"
    assert fork_server_of(os.getpid()) not in (None, server)


def test_the_next_trial_comes_from_the_same_fork_server(tmp_path: Path) -> None:
    servers = []

    def note(report: Report) -> Verdict:
        servers.append(fork_server_of(os.getpid()))
        return Verdict.CONTINUE

    for name in ("first", "second"):
        _finished(_run(classification(tmp_path / name, epochs=1), note))

    assert servers[0] is not None
    assert servers == [servers[0]] * 2


# Ended by the agent ----------------------------------------------------------------------------


def test_a_tick_that_says_no_ends_all_ranks_at_once(tmp_path: Path) -> None:
    recorder = Recorder()

    with pytest.raises(RanksAborted):
        _run(
            classification(tmp_path / "trial"),
            recorder,
            on_tick=lambda: Demand.ABORT if recorder.reports else Demand.GO,
        )

    assert ranks_of(os.getpid()) == []
    assert len(recorder.reports) < 3


def test_a_tick_that_says_no_before_the_ranks_are_there_ends_them_too(tmp_path: Path) -> None:
    with pytest.raises(RanksAborted):
        _run(classification(tmp_path / "trial"), Recorder(), on_tick=lambda: Demand.ABORT)

    assert ranks_of(os.getpid()) == []
    assert _logs(tmp_path) == ""


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_of_the_agent_goes_on_and_leaves_no_rank(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail(report: Report) -> Verdict:
        raise error("in the agent")

    with pytest.raises(error, match="in the agent"):
        _run(classification(tmp_path / "trial"), fail)

    assert ranks_of(os.getpid()) == []


@contextmanager
def _agent(how: str, folder: Path, root: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.ranks.agent_double", how, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, **env},
    ) as agent:
        yield agent


def test_ranks_end_with_their_agent_also_while_they_hang_in_a_collective(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with _agent("hang", tmp_path, pytestconfig.rootpath) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "reported\n"
        left = [*ranks_of(agent.pid), fork_server_of(agent.pid)]
        assert len(left) == 3

        agent.kill()

        agent.wait(20)
        wait_until(lambda: not any(is_alive(pid) for pid in left if pid is not None))


def test_a_long_temporary_folder_does_not_keep_ranks_from_starting(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()

    with _agent("train", tmp_path, pytestconfig.rootpath, TMPDIR=str(long)) as agent:
        output, errors = agent.communicate()

    assert (output, errors) == ("reported\nfinished\n", "")


@pytest.mark.gpu
def test_a_rank_takes_the_gpu_of_its_number(tmp_path: Path) -> None:
    spec = denoising(tmp_path / "trial", dtype="float32")

    result = _finished(_run(spec, Recorder(), ranks=1, devices=(0,)))

    assert result.provenance["device"] == torch.cuda.get_device_name(0)
