"""Calibrates a study on a cluster: starts the measurement on a node, and keeps what it finds."""

import datetime
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wconv_sweep.calibration.comparison import Comparison, Row, StudyCost, compare, study_cost
from wconv_sweep.calibration.order import CalibrationAnswer, CalibrationOrder
from wconv_sweep.clusters.pilot_request import PilotRequest, PilotShape, resolve_request
from wconv_sweep.clusters.profile import ClusterProfile, LocalProfile, SlurmProfile
from wconv_sweep.errors import ConfigurationError, SweepFailed
from wconv_sweep.evidence.calibration_record import FOLDER, Calibration, write_record
from wconv_sweep.launching.code_snapshot import freeze
from wconv_sweep.launching.node_job import NodeJob, NodeJobEnd, run_on_node
from wconv_sweep.launching.submission import launcher_of
from wconv_sweep.run_folder import RunFolder
from wconv_sweep.study.config import StudyConfig, TrialShape
from wconv_sweep.study.data_files import check_data, make_smoke_data
from wconv_sweep.study.own_modules import freeze_modules

MODULE = "wconv_sweep.calibration.node_run"
LIMIT_MIN = 30
"""Time limit of the measurement, minutes, unless `--time` says otherwise."""
_END_S = 60
"""Part of it that is kept free for the end."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to measure."""

    ranks: Sequence[int]
    """Numbers of ranks to try; none: see `wconv_sweep.calibration.shapes`."""
    compile: bool = False
    """Whether compiled steps are tried, too."""
    every: bool = False
    """Whether every combination is measured, not one change of the study's shape at a time."""
    seconds: float
    """Training time of each measurement."""
    rounds: int
    """Measurements of each shape."""
    wait_s: float
    """A job is canceled if it has not started after this time."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What was measured, and what it means for the study."""

    config: StudyConfig
    profile: ClusterProfile
    found: Calibration
    comparison: Comparison
    record: Path
    """The file that keeps it."""
    pilots: PilotShape | None
    """None for processes of this machine."""

    def cost(self, row: Row) -> StudyCost:
        """Return the expected cost of the study in a shape."""
        site = self.profile if isinstance(self.profile, SlurmProfile) else None
        on_gpus = self.found.gpus > 0
        return study_cost(row, self.config, on_gpus=on_gpus, profile=site, pilots=self.pilots)


def calibrate(
    config: StudyConfig,
    profile: ClusterProfile,
    runs: Path,
    request: PilotRequest,
    wanted: Wanted,
    say: Callable[[str], None],
) -> Calibrated:
    """Measure the trials of a study on a node of a cluster.

    Args:
        config: of the study, with its data located.
        profile: of the cluster.
        runs: folder of all runs.
        request: changes to the profile.
        wanted: what to measure.
        say: called with a line on what is being waited for.

    Raises:
        ConfigurationError: the data are not ready, no number of ranks can share the batch, or the
            request makes no sense there.
        SlurmError: the site does not take the job.
        SweepFailed: nothing was measured.
    """
    if config.trainer is not None:
        raise ConfigurationError(
            f"study {config.study}: calibrate measures the steps of our own trainer, and "
            f"{config.trainer.name} trains this study. Measure its speed yourself, and set "
            "`trial` accordingly."
        )
    _check_ranks(config, wanted.ranks)
    launcher = launcher_of(profile, request)
    # Not the number of ranks that the study has: others are tried, and these may be too many.
    alone = config.model_copy(update={"trial": TrialShape()})
    problems = launcher.findings(alone, RunFolder.of(runs, config.study)).problems
    if problems:
        raise ConfigurationError(problems)
    pilots = resolve_request(profile, request) if isinstance(profile, SlurmProfile) else None
    if config.is_smoke:
        make_smoke_data(config)
    else:
        check_data(config)
    limit_min = min(request.walltime_min or LIMIT_MIN, profile.walltime_min)
    folder = RunFolder(runs.resolve() / FOLDER / secrets.token_hex(4))
    folder.pilots.mkdir(parents=True)
    freeze(folder)
    order = CalibrationOrder(
        folder=folder.path,
        config=_with_frozen_modules(config, folder),
        gpus=_gpus(profile, pilots),
        cpus=pilots.cpus_per_task if pilots else 0,
        ranks=list(wanted.ranks),
        compile=wanted.compile,
        every=wanted.every,
        seconds=wanted.seconds,
        rounds=wanted.rounds,
        limit_s=max(1.0, 60.0 * limit_min - _END_S),
    )
    path = folder.path / "order.json"
    path.write_text(order.model_dump_json(by_alias=True), "utf-8")
    say(f"Measuring takes some minutes; its log is in {folder.pilots} (Ctrl-C ends it).")
    job = NodeJob(
        word="calibration",
        name=f"wconv-calibrate-{folder.path.name}",
        module=MODULE,
        profile=profile,
        shape=pilots,
        folder=folder,
        order=path,
        report=order.answer,
        run_min=limit_min,
        wait_s=wanted.wait_s,
        say=say,
    )
    try:
        ended = run_on_node(job)
    except KeyboardInterrupt:
        shutil.rmtree(folder.path, ignore_errors=True)  # ranks may write their last lines there
        raise
    found = _found(ended, order)
    shutil.rmtree(folder.path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Calibrated(
        config=config,
        profile=profile,
        found=found,
        comparison=compare(found, config, _lanes(profile)),
        record=write_record(runs, config, profile.cluster, found, now),
        pilots=pilots,
    )


def _check_ranks(config: StudyConfig, ranks: Sequence[int]) -> None:
    """Refuse at once what no machine can run."""
    batch_size = config.recipe.batch_size
    if ranks and all(batch_size % number for number in ranks):
        raise ConfigurationError(
            f"--ranks {' --ranks '.join(map(str, ranks))}: cannot share recipe.batch_size "
            f"{batch_size} evenly. Choose divisors of it."
        )


def _found(ended: NodeJobEnd, order: CalibrationOrder) -> Calibration:
    if not ended.has_report:
        raise SweepFailed(f"{ended.what}. {ended.remedy}")
    answer = CalibrationAnswer.model_validate_json(order.answer.read_text("utf-8"))
    if answer.calibration is None:
        raise SweepFailed(f"{order.config.study}: {answer.problem}")
    return answer.calibration


def _with_frozen_modules(config: StudyConfig, folder: RunFolder) -> StudyConfig:
    if config.code_folder is None:
        return config
    frozen = freeze_modules(config.code_folder, folder.path)
    return config.model_copy(update={"code": str(frozen)})


def _gpus(profile: ClusterProfile, pilots: PilotShape | None) -> int:
    """Return the GPUs of a node that trials may take: of all pilots on this machine."""
    if isinstance(profile, LocalProfile):
        return profile.gpus_per_pilot * profile.pilots
    return pilots.gpus_used_per_node if pilots else 0


def _lanes(profile: ClusterProfile) -> int | None:
    """Return the trials side by side of all pilots on this machine, where the profile says."""
    if isinstance(profile, LocalProfile) and profile.lanes is not None:
        return profile.lanes * profile.pilots
    return None
