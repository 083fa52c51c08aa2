"""Runs a training program of the user's own for a few steps, and says what it did as a trial."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wconv_jobs.messages import Broken, Demand, Finished, Report, Verdict
from wconv_jobs.program_trial import program_folder
from wconv_jobs.ranks.placement import Placement
from wconv_jobs.spec import Density
from wconv_sweep.doctor.checks import Check, right, warning, wrong
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import PLAIN, StudyConfig
from wconv_sweep.study.own_modules import freeze_modules
from wconv_sweep.study.point import Point
from wconv_sweep.study.program_trial import program_trial
from wconv_sweep.study.search_space import weighted_density
from wconv_trial.names import JOINED_RANKS


def trainer_checks(config: StudyConfig, folder: Path) -> Iterator[Check]:
    """Yield what a program does, one by one, as it is run: four short runs on this machine.

    Args:
        config: a study with a trainer, whose code is copied as a launch would.
        folder: gets the copy, and whatever the program writes.

    Raises:
        ConfigurationError: the study has no trainer, or its code cannot be copied.
    """
    if config.trainer is None:
        raise ConfigurationError(
            f"study {config.study}: our own trainer trains it, which needs no such check. Use "
            "`wconv-sweep studies check`."
        )
    if config.code_folder is not None:
        frozen = freeze_modules(config.code_folder, folder, rule_of(config.trainer))
        config = config.model_copy(update={"code": str(frozen)})
    plain = config.references()[PLAIN]
    first = _run(config, plain, folder / "first", stop_after=min(2, config.recipe.epochs))
    if (failure := _failure(first)) is not None:
        yield failure
        return
    yield _reported(first)
    if config.trial.ranks > 1:
        yield _together(first, config.trial.ranks)
    yield from _stopped_and_resumed(config, first, plain, folder)
    again = _run(config, plain, folder / "again", stop_after=1)
    yield _failure(again) or _same_seed(first, again)
    density = weighted_density(config)
    other = _run(config, density, folder / "other", stop_after=1)
    yield _failure(other) or _density_matters(first, other, density)


@dataclass
class _Run:
    """A short run, and what it reported."""

    stop_after: int
    result: Finished | Broken | None = None
    reports: list[Report] = field(default_factory=list)

    def on_report(self, report: Report) -> Verdict:
        self.reports.append(report)
        enough = len(self.reports) >= self.stop_after
        return Verdict.STOP if enough else Verdict.CONTINUE


def _run(config: StudyConfig, density: Density, folder: Path, *, stop_after: int) -> _Run:
    # Imported here: it loads torch.
    from wconv_jobs.ranks.run import run_ranks

    run = _Run(stop_after)
    run.result = run_ranks(
        program_trial(config, Point(density), 0, folder),
        placement=Placement(config.trial.ranks),
        log_folder=folder / f"attempt_{stop_after}",
        on_report=run.on_report,
        on_tick=lambda: Demand.GO,
    )
    return run


def _failure(run: _Run) -> Check | None:
    if not isinstance(run.result, Broken):
        return None
    found = run.result
    remedy = found.traceback.strip() or "Correct the program, and check it again."
    return wrong(f"{found.error}: {found.reason} [{found.where}]", remedy)


def _reported(run: _Run) -> Check:
    metrics = ", ".join(f"{name} {value:.6g}" for name, value in run.reports[0].metrics.items())
    seconds = run.reports[-1].epoch_s
    return right(f"reports after each step, the last one in {seconds:.3g} s: {metrics}")


def _together(run: _Run, ranks: int) -> Check:
    assert isinstance(run.result, Finished)
    joined = run.result.provenance.get(JOINED_RANKS, "0")
    if joined == str(ranks):
        return right(f"its {ranks} ranks train together")
    return warning(
        f"its {ranks} ranks have no process group of torch.distributed with each other",
        "Each trains for itself, unless they exchange gradients in another way.",
    )


def _stopped_and_resumed(
    config: StudyConfig, first: _Run, plain: Density, folder: Path
) -> Iterator[Check]:
    assert isinstance(first.result, Finished)
    last, reports = first.reports[-1].epoch, config.recipe.epochs
    if first.result.ending != "stopped":
        if last != reports:
            yield warning(
                f"finished at step {last}, but trainer.reports is {reports}",
                "Correct it, unless the program stops early by itself.",
            )
        if len(first.reports) > first.stop_after:
            yield warning(
                f"was told to stop after report {first.stop_after}, and finished instead",
                "End without trial.finish() when the answer of trial.report() has .stop.",
            )
        return
    yield right(f"stops when it is told to, after step {last}")
    if not any(program_folder(folder / "first").iterdir()):
        yield warning(
            "leaves nothing in trial.folder", "It would start an interrupted trial again."
        )
        return
    if last >= reports:
        return
    resumed = _run(config, plain, folder / "first", stop_after=1)
    failure = _failure(resumed)
    step = resumed.reports[0].epoch if resumed.reports else None
    if failure is not None:
        yield failure
    elif step == 1:
        yield warning(
            "starts again after an interruption",
            "Write a checkpoint into trial.folder, and continue from it.",
        )
    else:
        yield right(f"goes on after an interruption, at step {step}")


def _same_seed(first: _Run, again: _Run) -> Check:
    if first.reports[0].metrics == again.reports[0].metrics:
        return right("reports the same numbers for the same seed and density")
    return warning(
        "reports other numbers for the same seed and density",
        "Take all random numbers from trial.seed; on GPUs, some kernels differ all the same.",
    )


def _density_matters(first: _Run, other: _Run, density: Density) -> Check:
    shown = ", ".join(f"{each:g}" for each in density)
    if first.reports[0].metrics != other.reports[0].metrics:
        return right(f"reports other numbers for density ({shown}) than for plain convolution")
    return wrong(
        f"reports the same numbers for density ({shown}) as for plain convolution",
        "Apply trial.density to the network: replace_convolutions(model, trial.density).",
    )
