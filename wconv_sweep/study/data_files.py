"""The files of a study's data: check, prepare, or synthesize them for a smoke run."""

from collections.abc import Sequence
from pathlib import Path

from wconv_jobs import catalog
from wconv_jobs.catalog import Progress
from wconv_jobs.errors import JobError
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.config import StudyConfig


def check_data(config: StudyConfig, *, thorough: bool = False) -> None:
    """Check the files of the study's data.

    Args:
        config: the study, with its data located.
        thorough: read them from end to end.

    Raises:
        ConfigurationError: they cannot be used.
    """
    if config.trainer is not None:
        return  # its data are its own
    problems = catalog.check_data(config.data.name, config.data.options, thorough=thorough)
    if problems:
        raise _unusable(config, problems)


def prepare_data(config: StudyConfig, on_progress: Progress) -> None:
    """Convert the study's data to the form that training reads, unless that is done.

    Safe if several nodes do it at the same time.

    Args:
        config: the study, with its data located.
        on_progress: called with (done, of how many).

    Raises:
        ConfigurationError: the files cannot be used, also by this study alone, or the space does
            not suffice.
    """
    if config.trainer is not None:
        return
    try:
        catalog.prepare_data(config.data.name, config.data.options, on_progress)
    except JobError as error:
        raise _unusable(config, str(error).splitlines()) from error
    check_data(config)


def make_smoke_data(config: StudyConfig) -> None:
    """Write and prepare the synthetic data of a study at smoke scale."""
    if not catalog.reads_files(config.data.name):
        return
    folder = Path(str(config.data.options["folder"]))
    try:
        catalog.generate_data(config.data.name, folder)
    except OSError as error:
        # A full disk is an error without a name.
        raise ConfigurationError(
            f"{error.filename or folder}: cannot be written ({error.strerror}). Choose another "
            "folder with --runs."
        ) from error
    prepare_data(config, lambda done, total: None)


def _unusable(config: StudyConfig, problems: Sequence[str]) -> ConfigurationError:
    return ConfigurationError([f"study {config.study}: data: {text}" for text in problems])
