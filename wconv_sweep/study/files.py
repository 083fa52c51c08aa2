"""Reading a study: by name or path, with changed keys, and with the folders of its data."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study import resources
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.problems import problems_of
from wconv_sweep.study.recipes import fill_in_recipe
from wconv_sweep.study.settings import apply_settings
from wconv_sweep.study.smoke import as_whole, shrink
from wconv_sweep.validation import validate
from wconv_sweep.yaml_files import Document, read_document

_FOLDERS = {"folder", "cache_folder"}


def load_study(
    wanted: str, *, settings: Sequence[str] = (), smoke_folder: Path | None = None
) -> StudyConfig:
    """Return a study by shipped name or by the path of a file.

    Args:
        wanted: name or path.
        settings: changes of single keys, see `wconv_sweep.study.settings`.
        smoke_folder: shrinks the study, see `wconv_sweep.study.smoke`; gets synthetic data.

    Raises:
        ConfigurationError: it does not exist or is wrong; every problem is named.
    """
    path, name = resources.find("wconv_studies", "study", wanted)
    document = apply_settings(read_document(path, name), StudyConfig, settings)
    code = document.get(("code",))
    if isinstance(code, str) and code:
        origin = document.origin(("code",)) or f"{name}:{document.line(('code',))}"
        folder = (path.parent / Path(code).expanduser()).resolve()
        document = document.with_value(("code",), str(folder), origin)
    if smoke_folder is not None:
        # Shrinking would hide problems of the study.
        _refuse_smoke_of_trainer(check_study(as_whole(document)))
        document = shrink(document, smoke_folder)
    return check_study(document)


def _refuse_smoke_of_trainer(config: StudyConfig) -> None:
    if config.trainer is not None:
        raise ConfigurationError(
            f"study {config.study}: --smoke shrinks networks and data of our own trainer, and "
            f"{config.trainer.name} trains this study. Try it with "
            "`wconv-sweep trainers check`."
        )


def check_study(document: Document) -> StudyConfig:
    """Return the study that a document defines, with its recipe filled in.

    Raises:
        ConfigurationError: with every problem found.
    """
    document = fill_in_recipe(document)
    config = validate(document, StudyConfig)
    problems = [document.problem(location, text) for location, text in problems_of(config)]
    if problems:
        raise ConfigurationError(problems)
    return config


def locate_data(config: StudyConfig, environment: Mapping[str, str] = os.environ) -> StudyConfig:
    """Return the study with the environment variables in its data's folders filled in.

    Jobs may start with another environment, so the paths of a launched study are expanded.

    Args:
        config: the study.
        environment: where `$WCONV_SWEEP_DATA` in `folder: $WCONV_SWEEP_DATA` is looked up.

    Raises:
        ConfigurationError: a variable is not set, or empty.
    """
    options = dict(config.data.options)
    filled = {name: value for name, value in environment.items() if value}
    problems = []
    for option in _FOLDERS & options.keys():
        text = str(options[option])
        try:
            options[option] = Template(text).substitute(filled)
        except KeyError as error:
            variable = error.args[0]
            state = "is empty." if variable in environment else "is not set."
            problems.append(
                f"study {config.study}: data.options.{option} is {text}, but {variable} "
                f"{state} Write `export {variable}=FOLDER` with the folder of your data, or use "
                f"--set data.options.{option}=FOLDER."
            )
        except ValueError:
            problems.append(
                f"study {config.study}: data.options.{option} is {text}, which holds a $ that "
                "names no variable. Write $$ for a $ of its own."
            )
    if problems:
        raise ConfigurationError(sorted(problems))
    data = config.data.model_copy(update={"options": options})
    return config.model_copy(update={"data": data})


def locate_where_known(
    config: StudyConfig, environment: Mapping[str, str] = os.environ
) -> StudyConfig:
    """Return the same; the study as it stands where a variable is not set."""
    try:
        return locate_data(config, environment)
    except ConfigurationError:
        return config


def study_options(study: str, settings: Sequence[str], *, smoke: bool = False) -> list[str]:
    """Return the options that name a study on the command line; none of its cap.

    Args:
        study: as it was given.
        settings: changes of single keys.
        smoke: whether it is shrunk.
    """
    kept = [each for each in settings if not each.startswith("budget.gpu_hours=")]
    changed = [word for each in kept for word in ("--set", each)]
    return ["--study", study, *changed, *(["--smoke"] if smoke else [])]
