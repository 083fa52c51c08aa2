"""What is wrong with a study whose trials a program of the user's own trains."""

from pathlib import Path

from wconv_jobs import catalog
from wconv_jobs.program_trial import RANK_VARIABLES
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.code_files import rule_of
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.trainer import TAKEN, TrainerSpec, with_stand_ins

Problem = tuple[tuple[str, ...], str]


def trainer_problems(config: StudyConfig) -> list[Problem]:
    """Return what no single key shows, as (key, sentence)."""
    assert config.trainer is not None
    return [
        *_program_problems(config, config.trainer),
        *_taken(config, config.trainer),
        *_objective_problems(config),
    ]


def _program_problems(config: StudyConfig, trainer: TrainerSpec) -> list[Problem]:
    problems: list[Problem] = []
    folder = config.code_folder
    if (trainer.program is None) == (trainer.module is None):
        text = "names a program and a module" if trainer.module else "names no program"
        problems.append((("trainer",), f"{text}. Give one of `program` and `module`."))
    if folder is not None and not folder.is_dir():
        problems.append((("code",), f"is {folder}, which is not a folder."))
    elif trainer.program is not None and folder is None:
        text = f"is {trainer.program}, but `code` is missing. Give its folder, e.g. `code: .`."
        problems.append((("trainer", "program"), text))
    elif trainer.program is not None and folder is not None and not _is_program(trainer, folder):
        text = f"is {trainer.program}, which is no Python file in {folder}."
        problems.append((("trainer", "program"), text))
    problems += _code_problems(config)
    for name in trainer.unknown_placeholders():
        known = ", ".join(["density", "seed", "folder", *trainer.options])
        text = f"has {{{name}}}, which nothing fills in. Known are {known}; name it in options."
        problems.append((("trainer", "arguments"), text))
    for name in sorted(trainer.env.keys() & set(RANK_VARIABLES)):
        text = f"has {name}, which says what rank a process is, or its GPUs. Remove it."
        problems.append((("trainer", "env"), text))
    python = trainer.python if isinstance(trainer.python, list) else [trainer.python or "python"]
    if not python or ("/" in python[0] and not python[0].startswith("/")):
        text = "is no command, or a path that starts nowhere. Give a full path, or a name."
        problems.append((("trainer", "python"), text))
    return problems


def _code_problems(config: StudyConfig) -> list[Problem]:
    folder = config.code_folder
    if folder is None or not folder.is_dir():
        return []
    try:
        rule_of(config.trainer).files(folder)
    except ConfigurationError as error:
        return [(("code",), str(error).removeprefix("code: "))]
    return []


def _is_program(trainer: TrainerSpec, folder: Path) -> bool:
    file = Path(trainer.program or "")
    return file.suffix == ".py" and not file.is_absolute() and (folder / file).is_file()


def _taken(config: StudyConfig, trainer: TrainerSpec) -> list[Problem]:
    """Name the sections that the trainer takes the place of."""
    stand_ins = StudyConfig.model_validate(
        with_stand_ins(
            {
                key: value
                for key, value in config.model_dump(mode="json", by_alias=True).items()
                if key not in TAKEN
            }
        )
    )
    text = f"is for our own trainer, but {trainer.name} trains this study. Remove it."
    return [
        ((key,), text)
        for key in (*TAKEN, "sites")
        if getattr(config, key) != getattr(stand_ins, key)
        or (key == "sites" and config.sites != type(config.sites)())
    ]


def _objective_problems(config: StudyConfig) -> list[Problem]:
    metric, goal = config.objective.metric, config.objective.goal
    if metric in catalog.names("metrics"):
        known = catalog.metric_facts(metric).goal
        if goal not in (None, known):
            text = f"is {goal}, but {metric} is one to {known}. Give the metric another name."
            return [(("objective", "goal"), text)]
        if config.objective.unit is not None:
            text = f"is for a metric of your own; {metric} knows its unit. Remove it."
            return [(("objective", "unit"), text)]
    elif goal is None:
        text = f"is missing: is more or less of {metric} better? Give `maximize` or `minimize`."
        return [(("objective", "goal"), text)]
    if not metric.isidentifier():
        text = f"is {metric}, which no program can report: use letters, digits and _."
        return [(("objective", "metric"), text)]
    return []
