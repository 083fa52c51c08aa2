"""A training program of the user's own, which takes the place of network, data and recipe."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from wconv_jobs.spec import Density, Option
from wconv_jobs.spec_base import Spec

TAKEN = ("model", "data", "recipe")
"""Sections of a study that a trainer takes the place of."""

GIVEN = ("density", "seed", "folder")
"""Placeholders in `arguments` that need no option."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


PRELOAD = ["torch"]
"""What programs are forked with where a study says nothing."""

_Module = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*$")]
_Function = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class WeightsSpec(Spec):
    """How `export --weights` folds and scores what your program has trained: two functions, as
    module:function, in the folder `code` or installed."""

    network: _Function
    """Returns the network before `replace_convolutions`; takes those options that are its
    arguments."""
    score: _Function
    """Takes such a `network`, and options, `seed` and `long_seed` where these are its arguments;
    returns numbers by the names that `finish` gets."""


class TrainerSpec(Spec):
    """A training program of your own, see docs/own-program.md."""

    program: Annotated[str, Field(min_length=1)] | None = None
    """Its file, in the folder `code`."""
    module: _Module | None = None
    """Or its module, as after `python -m`: in the folder `code`, or installed."""
    arguments: list[str] = Field(default_factory=list)
    """What follows it on its command line; {density}, {seed}, {folder} and the names of options in
    braces are filled in."""
    options: dict[str, Option] = Field(default_factory=dict)
    """What the program gets as trial[NAME]."""
    reports: Annotated[int, Field(ge=1)]
    """How often a complete run reports, e.g. after each epoch: the number of its last step."""
    python: str | list[str] | None = None
    """Interpreter, e.g. that of a conda environment, or a command that ends with one; null: the
    one that runs wconv-sweep."""
    preload: list[_Module] = PRELOAD
    """Modules that an agent loads once, in a process that it forks the programs from; [] starts
    each in an interpreter of its own, and so does a command as `python`."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the program."""
    linked: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Files and folders in `code` that its copy only links to, as data: names or patterns, e.g.
    [data, "*.ckpt"]."""
    weights: WeightsSpec | None = None
    """How the file that it names in `finish` is folded and scored again; null: it is exported as
    it is."""

    @property
    def name(self) -> str:
        """The program, as people call it."""
        return self.program or self.module or ""

    def plain(self) -> dict[str, Any]:
        """Return the trainer as plain data, without keys that are younger than studies where these
        say what was so before, or what changes no result: see `StudyConfig.plain`."""
        plain = self.model_dump(mode="json", by_alias=True)
        for key, default in (("linked", []), ("preload", PRELOAD), ("weights", None)):
            if plain[key] == default:
                del plain[key]
        return plain

    @property
    def loaded(self) -> list[str]:
        """The modules that its programs are forked with; none where `python` is a command: it may
        do anything for each of them."""
        return [] if isinstance(self.python, list) else self.preload

    def command(self, python: str, density: Density, seed: int, folder: Path) -> list[str]:
        """Return the command of a trial.

        Args:
            python: the interpreter where the study names none.
            density: coefficients, outermost first.
            seed: of the trial.
            folder: of the program in it.
        """
        program = [self.program] if self.program else ["-m", self.module or ""]
        values = {name: str(value) for name, value in self.options.items()} | {
            "density": ",".join(str(each) for each in density),
            "seed": str(seed),
            "folder": str(folder),
        }

        def filled(argument: str) -> str:
            return _PLACEHOLDER.sub(lambda found: values[found[1]], argument)

        return [*self.interpreter(python), *program, *map(filled, self.arguments)]

    def interpreter(self, python: str) -> list[str]:
        """Return the interpreter, or the command that ends with one.

        Args:
            python: the interpreter where the study names none.
        """
        given = self.python or python
        return [given] if isinstance(given, str) else given

    def unknown_placeholders(self) -> list[str]:
        """Return the names in braces that nothing fills in."""
        found = [name for each in self.arguments for name in _PLACEHOLDER.findall(each)]
        return [name for name in found if name not in self.options and name not in GIVEN]


def with_stand_ins(content: Any) -> Any:
    """Return the content of a study whose trainer stands for network, data and recipe.

    These have the name of the program and the number of its reports, and nothing else is read of
    them: what asks a study for its epochs, or for a name to show, need not ask for a trainer.
    """
    trainer = content.get("trainer") if isinstance(content, Mapping) else None
    if not isinstance(trainer, Mapping):
        return content
    name = str(trainer.get("program") or trainer.get("module") or "trainer")
    reports = trainer.get("reports")
    stand_ins = {
        "model": {"name": name},
        "data": {"name": name},
        "recipe": {
            "optimizer": {"name": "sgd", "lr": 1.0},
            "epochs": reports if isinstance(reports, int) and reports > 0 else 1,
            "batch_size": 1,
            "memory_format": "contiguous",
        },
    }
    return stand_ins | dict(content)
