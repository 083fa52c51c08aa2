"""Shrinks a study so that all of it runs in a minute or two on two CPU cores: `--smoke`."""

from collections.abc import Set
from pathlib import Path

from wconv_jobs import catalog
from wconv_sweep.yaml_files import Document, Location

ORIGIN = "--smoke"
SUFFIX = "_smoke"
"""What the name of a study gets, so that it is never taken for the real one."""

EPOCHS = 2
BATCH_SIZE = 8
SEARCH_TRIALS = 2
CONFIRM_SEEDS = 2
"""Of one candidate and of plain convolution."""

_RANKS: Location = ("trial", "ranks")
_BATCH_SIZE: Location = ("recipe", "batch_size")
_SAMPLES: Location = ("data", "options", "crops_per_epoch")
"""Of an epoch, where data have as many as one likes."""


def shrink(document: Document, folder: Path) -> Document:
    """Return a study's document at smoke scale.

    Small network, few and small samples, two epochs, two proposals beside the reference densities,
    the best of them on two more seeds, one rank, no pruner. Everything else is that of the study.
    Data read from files are synthetic ones in the same file format, see `generated_folder`. What a
    setting has given stays, and the rest is chosen to go with it, but for the name and the
    folders: synthetic data must not get among real ones, nor a smoke run among real results.

    Args:
        document: of the study, with its settings.
        folder: gets synthetic data.
    """
    model, data = (document.get((section, "name")) for section in ("model", "data"))
    always: dict[Location, object] = {
        ("study",): f"{document.get(('study',))}{SUFFIX}",
        ("is_smoke",): True,
    }
    ranks, batch_size = _ranks_and_batch_size(document)
    warmup_epochs = _set(document, ("recipe", "lr_schedule", "warmup_epochs"), EPOCHS - 1)
    seeds = _set(document, ("search", "seeds"), 1)
    trials = (_references(document) + SEARCH_TRIALS) * seeds
    values: dict[Location, object] = {
        ("recipe", "epochs"): max(EPOCHS, warmup_epochs + 1),
        _BATCH_SIZE: batch_size,
        _RANKS: ranks,
    }
    if document.get(("confirm",)) is not None:
        candidates = _set(document, ("confirm", "candidates"), 1)
        repeats = _set(document, ("confirm", "seeds"), CONFIRM_SEEDS)
        values["confirm", "candidates"], values["confirm", "seeds"] = candidates, repeats
        trials += (candidates + 1) * repeats
    values["budget", "trials"] = trials
    if document.get(("recipe", "lr_schedule", "warmup_epochs")):
        values["recipe", "lr_schedule", "warmup_epochs"] = warmup_epochs
    if document.get(("search", "seeds")) is not None:
        values["search", "seeds"] = seeds
    if document.get(("search", "sampler", "name")) == "grid":
        # A grid is as large as it is: two of its points are two random ones.
        values["search", "sampler"] = {"name": "random"}
    also = document.get(("search", "also"))
    if isinstance(also, dict):
        # Options and batch size are those of a small run.
        kept = {
            key: spec
            for key, spec in also.items()
            if key.startswith("recipe.") and key != "recipe.batch_size"
        }
        values["search", "also"] = kept
        if not kept and document.get(("search", "arms")) is not None:
            values["search", "arms"] = "both"
        values |= _without_settings(document, also.keys() - kept.keys())
    if document.get(("search", "warm_start")) is not None:
        # Its sources are real studies, which a trial run need not have.
        values["search", "warm_start"] = []
    if document.get(("search", "pruner")) is not None:
        # Two epochs are too few to stop any trial.
        values["search", "pruner"] = {"name": "none"}
    if model in catalog.names("models"):
        if document.get(("sites",)) is not None:
            # The small network has fewer layers, and other names.
            values[("sites",)] = {}
        for option, value in catalog.smoke_options("models", str(model)).items():
            values["model", "options", option] = value
    if data in catalog.names("data"):
        for option, value in catalog.smoke_options("data", str(data)).items():
            values["data", "options", option] = value
        of_epoch = values.get(_SAMPLES)
        if isinstance(of_epoch, int):
            values[_SAMPLES] = max(of_epoch, batch_size)
        if catalog.reads_files(str(data)):
            # A $ would be taken for a variable.
            generated = str(generated_folder(folder, str(data))).replace("$", "$$")
            always["data", "options", "folder"] = generated
            if catalog.has_option("data", str(data), "cache_folder"):
                always["data", "options", "cache_folder"] = ""
        classes = catalog.smoke_classes(str(data))
        if classes is not None:
            always["model", "options", "num_classes"] = classes
    chosen = {
        location: value
        for location, value in values.items()
        if document.origin(location) is None or document.get(location) is None
    }
    for location, value in (chosen | always).items():
        document = document.with_value(location, value, ORIGIN)
    return document


def as_whole(document: Document) -> Document:
    """Return the document to look for problems in before it is shrunk.

    Where a setting gives ranks, a batch, an epoch or a share of a GPU, it is that of the small
    run: the ranks and the batch size of the study in its file need not go with it.

    Args:
        document: of the study, with its settings.
    """
    together = (_RANKS, _BATCH_SIZE, _SAMPLES, ("trial", "per_gpu"))
    is_set = any(document.origin(location) is not None for location in together)
    if not is_set or document.get(("trainer",)) is not None:
        return document
    ranks, batch_size = _ranks_and_batch_size(document)
    for location, value in ((_RANKS, ranks), (_BATCH_SIZE, batch_size)):
        if document.origin(location) is None:
            document = document.with_value(location, value, ORIGIN)
    return document


def generated_folder(folder: Path, data: str) -> Path:
    """Return the folder of the synthetic data of a data set."""
    return folder.absolute() / data


def _without_settings(document: Document, dropped: Set[str]) -> dict[Location, object]:
    """Return the reference densities without values of keys that are not searched any more."""
    given = document.get(("reference_densities",))
    return {
        ("reference_densities", name): {
            key: value for key, value in each.items() if key not in dropped
        }
        for name, each in (given.items() if isinstance(given, dict) else ())
        if isinstance(each, dict)
    }


def _ranks_and_batch_size(document: Document) -> tuple[int, int]:
    """Return what settings have given, or a batch that the ranks can share and an epoch fills."""
    ranks = _set(document, _RANKS, 1)
    most = min(BATCH_SIZE, _set(document, _SAMPLES, BATCH_SIZE))
    return ranks, _set(document, _BATCH_SIZE, max(1, most // ranks) * ranks)


def _set(document: Document, location: Location, otherwise: int) -> int:
    """Return what a setting has given, and otherwise another value."""
    value = document.get(location)
    # What is no number of such things is a problem that `check_study` names.
    if document.origin(location) is None or not isinstance(value, int) or value < 1:
        return otherwise
    return value


def _references(document: Document) -> int:
    given = document.get(("reference_densities",))
    return 1 + (len(given) if isinstance(given, dict) else 0)
