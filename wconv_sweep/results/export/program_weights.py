"""The network that a program of the user's has trained: folded and scored again where the study
names how, else as the program has written it."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from wconv_jobs.program_trial import ProgramTrial, program_folder
from wconv_jobs.ranks.program_channel import link_packages
from wconv_jobs.ranks.program_environment import shared_environment
from wconv_sweep.errors import ConfigurationError
from wconv_sweep.evidence.results import StudyResult
from wconv_sweep.evidence.study_status import StudyStatus
from wconv_sweep.results.export.program_cards import folded_card, given_card
from wconv_sweep.results.export.reproduced import check_reproduced
from wconv_sweep.study.config import StudyConfig
from wconv_sweep.study.program_trial import program_trial
from wconv_sweep.study.trainer import WeightsSpec
from wconv_trial.names import SHORT_SEEDS, WEIGHTS_KEY

CARD = "README.md"
FOLDED = "model.safetensors"
_FOLD = "from wconv_kernels.fold_file import main; main()"


def program_files(
    config: StudyConfig, status: StudyStatus, result: StudyResult, target: Path
) -> dict[Path, bytes]:
    """Return the network of the run that a study has selected, and its card.

    Args:
        config: of the study, with the frozen copy of its code.
        status: of the study.
        result: the run, and that of plain convolution.
        target: folder of the files.

    Raises:
        ConfigurationError: the program has named no file, or it cannot be used.
        SweepFailed: the folded network does not reproduce the recorded score.
    """
    assert config.trainer is not None
    trial = result.best.trial
    assert trial is not None
    written = program_folder(status.folder.trial(trial))
    name = result.best.provenance.get(WEIGHTS_KEY)
    if name is None:
        raise ConfigurationError(
            f"study {status.study}: {config.trainer.name} has named no weights in trial "
            f"{trial}, whose files are in {written}. Leave --weights out, and call "
            "trial.finish(weights=FILE) in later studies."
        )
    try:
        content = (written / name).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"study {status.study}: {written / name}: cannot be read ({error.strerror}). A "
            "completed trial is not trained again: restore the file, or leave --weights out."
        ) from error
    if config.trainer.weights is not None:
        return _folded(config, config.trainer.weights, status, result, written / name, target)
    file = target / Path(name).name
    return {file: content, target / CARD: given_card(status, result, file.name).encode()}


def _folded(
    config: StudyConfig,
    how: WeightsSpec,
    status: StudyStatus,
    result: StudyResult,
    weights: Path,
    target: Path,
) -> dict[Path, bytes]:
    # Imported here: they load torch.
    import safetensors.torch

    from wconv_kernels.fold_file import read_weights

    best = result.best
    assert best.point is not None
    assert best.trial is not None
    trial = program_trial(config, best.point, best.replicate, status.folder.trial(best.trial))
    with tempfile.TemporaryDirectory(prefix="wconv-") as folder:
        folded = Path(folder) / "folded.pt"
        found = _fold(config, how, trial, weights, folded)
        tensors = read_weights(str(folded))
    check_reproduced(status, best, found["scores"])
    contiguous = {name: value.contiguous().clone() for name, value in tensors.items()}
    metadata = {
        "format": "pt",
        "study": config.study,
        "network": how.network,
        "arguments": json.dumps(found["arguments"]),
        "density": json.dumps(best.density),
        "wconv_sweep": status.version,
    }
    card = folded_card(status, result, how, found["scores"], found["arguments"])
    return {
        target / FOLDED: safetensors.torch.save(contiguous, metadata),
        target / CARD: card.encode(),
    }


def _fold(
    config: StudyConfig, how: WeightsSpec, trial: ProgramTrial, weights: Path, folded: Path
) -> Any:
    """Let a process of the trainer's interpreter fold the file, for which the functions are."""
    assert config.trainer is not None
    interpreter = config.trainer.interpreter(sys.executable)
    order, packages = folded.with_name("order.json"), folded.with_name("packages")
    link_packages(packages)
    content = {
        "weights": str(weights.resolve()),
        "folded": str(folded),
        "network": how.network,
        "score": how.score,
        "density": trial.density,
        "options": trial.options,
        "seeds": {"seed": trial.seed % SHORT_SEEDS, "long_seed": trial.seed},
    }
    order.write_text(json.dumps(content), "utf-8")
    try:
        ended = subprocess.run(
            [*interpreter, "-c", _FOLD, str(order)],
            env=shared_environment(trial, packages),
            cwd=trial.code_folder,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ConfigurationError(
            f"study {config.study}: {interpreter[0]}: cannot be started "
            f"({error.strerror}). Restore the interpreter, or leave --weights out."
        ) from error
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        # The trace of a function of the user's, if it is one.
        sys.stderr.write("".join(f"{line}\n" for line in said[:-1]))
        raise ConfigurationError(
            f"study {config.study}: trainer.weights: {said[-1].rstrip('.')}. Nothing was written: "
            f"leave --weights out. The file of the program is {weights}."
        )
    return json.loads(order.with_suffix(".result.json").read_text("utf-8"))
