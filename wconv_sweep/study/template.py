"""The files that `studies init` writes: a study of the user's own network, or program."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from wconv_sweep.errors import ConfigurationError
from wconv_sweep.study.resources import schema_comment

_STUDY = Template("""\
# Which density should the convolutions of $name have? Change what is marked with <-- first, then:
#   wconv-sweep studies check $file
#   wconv-sweep launch --cluster local --study $file
$schema_comment
schema: 1
study: $name # also the name of its folder and of its jobs
description: ""
kernel_size: 3 # of the convolutions on which the density acts; others stay plain

code: . # folder of $module.py, relative to this file

model:
  name: $module:build # <-- a function that returns a torch.nn.Module
  options: {width: 8} # its keyword arguments

data:
  name: $module:load # <-- a function that returns the data, see there
  kind: classification # or denoising: one image is made of another
  options: {samples: 512}

recipe: # all keys: docs/studies.md
  optimizer: {name: adam, lr: 1e-2} # or sgd with momentum, nesterov, weight_decay
  lr_schedule: cosine
  epochs: 6 # <-- as many as your network needs
  batch_size: 32 # over all ranks
  init: pytorch # layers draw their own default weights, the same for every density

objective: {metric: accuracy} # or macro_f1; psnr_db, nrmse, ssim for denoising

search:
  bounds: [[0.5, 1.5]] # one [low, high] per coefficient, outermost first; 5x5 takes two
  sampler: {name: tpe, startup_trials: 5}

# reference_densities: # trained in any case, beside plain convolution
#   mine: [0.8]

# Before you claim a gain: the best density and plain convolution on fresh seeds, here 8 of the
# trials in the budget, which wants as many more. Without it, nothing is confirmed.
# confirm: {candidates: 1, seeds: 4}
budget: {trials: 8} # plain convolution and reference densities included
trial: {ranks: 1} # DistributedDataParallel processes of a trial, one GPU each where there are any
seed: 0
""")

_MODULE = '''\
"""The network and the data of the study: replace both with your own."""

import torch
from torch import Tensor, nn


def build(*, width: int = 8) -> nn.Module:
    """Return the network; the keyword arguments are `model.options` of the study."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 2),
    )


def load(*, seed: int, samples: int = 512) -> dict[str, tuple[Tensor, Tensor]]:
    """Return (inputs, targets) of each part; the keyword arguments are `data.options`.

    Inputs are float32 (samples, channels, height, width). Targets are class labels (samples,) or,
    for `kind: denoising`, images in [0, 1]. Whatever is random must come from `seed`: trials with
    different densities are to see the same data.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = {}
    for part in ("train", "validation", "test"):
        # Stripes across or down, in noise.
        classes = torch.randint(2, (samples,), generator=generator)
        stripes = (torch.arange(16) // 2 % 2).float().expand(16, 16)
        images = torch.where(classes[:, None, None] == 0, stripes, stripes.T)
        noise = torch.randn(samples, 16, 16, generator=generator)
        parts[part] = ((images + noise)[:, None], classes)
    return parts
'''

_PROGRAM_STUDY = Template("""\
# Which density should the convolutions of $name have? Change what is marked with <-- first, then:
#   wconv-sweep studies check $file
#   wconv-sweep trainers check $file
#   wconv-sweep launch --cluster local --study $file
$schema_comment
schema: 1
study: $name # also the name of its folder and of its jobs
description: ""
kernel_size: 3 # of the convolutions on which the density acts; others stay plain

code: $code # folder of the program, relative to this file
trainer:
  program: $program
  arguments: [] # on its command line, e.g. [--lr, "{lr}"]: options in braces are filled in
  options: {} # what the program gets as trial[NAME], e.g. {lr: 1e-3}
  reports: 10 # <-- how often a complete run reports: its epochs
  # python: /path/to/python # of another environment

objective: {metric: accuracy, goal: maximize} # <-- what it reports, and which way is better

search:
  bounds: [[0.5, 1.5]] # one [low, high] per coefficient, outermost first; 5x5 takes two
  sampler: {name: tpe, startup_trials: 5}

# Before you claim a gain: the best density and plain convolution on fresh seeds, here 8 of the
# trials in the budget, which wants as many more. Without it, nothing is confirmed.
# confirm: {candidates: 1, seeds: 4}
budget: {trials: 8} # plain convolution and reference densities included
trial: {ranks: 1} # processes of the program, one GPU each where there are any
seed: 0
""")

LINES_TO_ADD = """\
from wconv_kernels import replace_convolutions
from wconv_trial import begin

trial = begin()                               # first of all; trial.seed is the seed to take
replace_convolutions(model, trial.density)    # before the optimizer is built
...                                           # continue from a checkpoint in trial.folder
answer = trial.report(epoch + 1, accuracy=accuracy)    # after each epoch, on every rank
...                                           # write the checkpoint, then:
if answer.stop:
    sys.exit()
trial.finish(test_accuracy=test_accuracy)     # at the end
"""
"""What a training program needs to be a trial."""


def write_program_study(name: str, program: Path, folder: Path) -> Path:
    """Write a study of a training program of the user's own; return its file.

    Args:
        name: of the study; letters, digits, _ and -.
        program: its file.
        folder: gets NAME.yaml.

    Raises:
        ConfigurationError: the name cannot be used, there is no such program, or the study exists;
            nothing is overwritten.
    """
    _check_name(name)
    if not program.is_file():
        raise ConfigurationError(
            f"--program {program}: there is no such file. Give the path of your training program."
        )
    study = folder / f"{name}.yaml"
    content = _PROGRAM_STUDY.substitute(
        name=name,
        program=program.name,
        code=os.path.relpath(program.resolve().parent, folder.resolve()),
        file=study.name,
        schema_comment=schema_comment("wconv_studies"),
    )
    _write({study: content})
    return study


def write_study(name: str, folder: Path) -> list[Path]:
    """Write a study and the module that it names; return both files.

    Args:
        name: of the study; letters, digits, _ and -.
        folder: gets NAME.yaml and NAME.py, a - in the latter's name replaced by _.

    Raises:
        ConfigurationError: the name cannot be used, or a file exists; nothing is overwritten.
    """
    _check_name(name)
    module = name.replace("-", "_")
    study = folder / f"{name}.yaml"
    contents = {
        study: _STUDY.substitute(
            name=name,
            module=module,
            file=study.name,
            schema_comment=schema_comment("wconv_studies"),
        ),
        folder / f"{module}.py": _MODULE,
    }
    _write(contents)
    return list(contents)


def _check_name(name: str) -> None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,99}", name) is None:
        raise ConfigurationError(
            f"{name}: is not a study name. Use letters, digits, _ and -, with a letter first."
        )


def _write(contents: Mapping[Path, str]) -> None:
    for path in contents:
        if path.exists():
            raise ConfigurationError(
                f"{path}: already exists and is not overwritten. Choose another name."
            )
    for path, content in contents.items():
        try:
            path.write_text(content, "utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot be written: {error.strerror}. Choose another --folder."
            ) from error
