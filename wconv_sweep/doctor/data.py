"""Checks the study's own files: its data, and the modules of the user's network."""

from collections.abc import Iterator

from wconv_sweep.doctor.checks import Check, right, skipped, wrong
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.data_files import check_data
from wconv_sweep.study.files import locate_data
from wconv_sweep.study.own_modules import modules_sha256


def data_checks(config: StudyConfig | None) -> Iterator[Check]:
    """Check the data of a study, as `launch` does; None: no study is given."""
    if config is None:
        yield skipped("data of the study", "give one with --study")
        return
    what = f"data {config.data.name} of study {config.study}"
    try:
        check_data(locate_data(config))
    except ConfigurationError as error:
        yield wrong(f"{what}: not ready", str(error))
    else:
        yield right(f"{what}: ready")
    if config.code_folder is not None:
        what = f"modules of study {config.study}"
        try:
            modules_sha256(config.code_folder, rule=rule_of(config.trainer))
        except ConfigurationError as error:
            yield wrong(f"{what}: not usable", str(error))
        else:
            yield right(f"{what}: in {config.code_folder}")
