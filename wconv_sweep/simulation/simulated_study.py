"""The study to simulate, with noise and costs measured from its own trials."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import URL

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.candidates import arm_of, searched, surrogate_of
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.storage.open_storage import has_storage, open_storage
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.files import load_study

ENOUGH = 8
"""Completed trials from which the noise between seeds is estimated."""


@dataclass(frozen=True)
class Measured:
    """Measurements of a study that has run."""

    noise_sd: float
    """Standard deviation of the objective between seeds, by the surrogate of its trials."""
    trial_h: float
    """GPU-hours of a trial; 0 if its pilots hold no GPUs."""


@dataclass(frozen=True)
class SimulatedStudy:
    """A study to simulate."""

    config: StudyConfig
    measured: Measured | None
    """None: it has not run, or too few of its trials have completed."""


def read_study(wanted: str, url: URL, settings: Sequence[str]) -> SimulatedStudy:
    """Return a launched study, or one that can be launched.

    Args:
        wanted: a study of the storage, a shipped one by name, or the path of a file.
        url: of the storage; it need not exist.
        settings: changes of single keys, see `wconv_sweep.study.settings`; for one not launched.

    Raises:
        ConfigurationError: there is no such study, it is wrong, or it searches more than the
            density and ends without a confirmation.
    """
    found = _found(wanted, url, settings)
    if found.config.search.also and found.config.confirm is None:
        raise ConfigurationError(
            f"simulate: study {found.config.study} has search.also and no confirmation, and what "
            "is simulated of such a study is the claim of its confirmation. Set confirm, e.g. "
            "{candidates: 1, seeds: 5}."
        )
    return found


def _found(wanted: str, url: URL, settings: Sequence[str]) -> SimulatedStudy:
    launched = _status_of(wanted, url)
    if launched is not None:
        if settings:
            raise ConfigurationError(
                f"simulate: study {wanted} was launched and keeps its definition, so that --set "
                "cannot change it. Give the study's file, or leave out --set."
            )
        return SimulatedStudy(launched.config, _measured(launched))
    config = load_study(wanted, settings=settings)
    launched = _status_of(config.study, url)
    return SimulatedStudy(config, None if launched is None else _measured(launched))


def _status_of(study: str, url: URL) -> StudyStatus | None:
    if not has_storage(url):
        return None
    with contextlib.closing(open_storage(url)) as storage:
        return read_status(storage, study) if study in study_names(storage) else None


def _measured(status: StudyStatus) -> Measured | None:
    arm = arm_of(status.config)
    if len(searched(status.trials, arm)) < ENOUGH:
        return None
    model = surrogate_of(status.trials, status.config, arm)
    assert model is not None
    return Measured(model.noise_sd, status.trial_h)
