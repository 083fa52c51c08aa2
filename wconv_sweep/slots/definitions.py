"""The definition of a study in a storage, and the folder of its files."""

from dataclasses import dataclass

from wconv_sweep.run_folder import RunFolder
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import find_study
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import StudyConfig, config_of
from wconv_sweep.study.own_modules import freeze_modules, frozen_modules


def load_config(storage: Storage, study: str) -> StudyConfig:
    """Return the definition that a study was created with.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        return config_of(find_study(connection, storage, study).config)


def load_frozen_config(storage: Storage, study: str) -> StudyConfig:
    """Return the same with the frozen copy of the user's own modules, which pilots train.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        row = find_study(connection, storage, study)
    config = config_of(row.config)
    sha256 = (row.provenance or {}).get("modules_sha256")
    if config.code is None or sha256 is None:
        return config
    run_folder = (storage.folder / row.run_folder).resolve()
    return config.model_copy(update={"code": str(frozen_modules(run_folder, sha256))})


def freeze_own_modules(storage: Storage, study: str) -> None:
    """Copy the user's own modules, if the study names any, to where `load_frozen_config` looks."""
    config, place = load_config(storage, study), study_place(storage, study)
    if config.code_folder is not None:
        freeze_modules(config.code_folder, place.folder.path, rule_of(config.trainer))


@dataclass(frozen=True)
class StudyPlace:
    """The folder of a study, and the cluster of its pilots."""

    folder: RunFolder
    uid: str
    cluster: str
    """Profile of the last launch: a name, or the path of a file."""


def study_place(storage: Storage, study: str) -> StudyPlace:
    """Return the place of a study.

    Raises:
        StudyError: the storage holds no such study.
    """
    with storage.read() as connection:
        row = find_study(connection, storage, study)
    folder = RunFolder((storage.folder / row.run_folder).resolve())
    return StudyPlace(folder, row.uid, row.cluster)
