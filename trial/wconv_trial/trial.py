"""The trial of this process, as the training program sees it."""

import dataclasses
import math
import os
import pathlib
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from wconv_trial.agent import Agent, joined_ranks, origin
from wconv_trial.alone import description, print_metrics
from wconv_trial.errors import TrialDiverged, TrialError
from wconv_trial.names import CHANNEL_VARIABLE, SHORT_SEEDS, WEIGHTS_KEY

_trial: Optional["Trial"] = None


def begin(**options: Any) -> "Trial":
    """Return the trial of this process; further calls return the same.

    Every rank calls it, before it builds the network.

    Args:
        options: values of the study's `trainer.options` where the study names none, and outside
            of a study, e.g. lr=1e-3.

    Raises:
        TrialError: WCONV_DENSITY is no density, or another process has begun this trial already.
    """
    global _trial
    if _trial is None:
        address = os.environ.get(CHANNEL_VARIABLE)
        agent = Agent(address) if address else None
        described = agent.ask("begin", origin=origin()) if agent else description()
        _trial = Trial(agent, described, options)
        if agent:
            agent.tell_failures()
    return _trial


@dataclasses.dataclass(frozen=True)
class Answer:
    """What to do after a report, the same on all ranks."""

    stop: bool
    """Whether to save a checkpoint and end now, without `finish`."""
    pruned: bool = False
    """Whether that is because the trial is not promising; otherwise it is continued later."""


class Trial:
    """One trial of a study; outside of a study, a run of the program for itself."""

    density: Tuple[float, ...]
    """Coefficients, outermost first, for kernels of size 2 n + 1; ones are plain convolution."""
    seed: int
    """Seed of whatever is random: the same for all densities that are compared, another one for
    each repetition."""
    long_seed: int
    """The same with 63 bits, from which `wconv_jobs.seeding.derive_seed` derives all seeds of our
    own trainer; `seed` is its remainder by 2**31, since many libraries take no larger ones."""
    folder: pathlib.Path
    """Folder of this trial, which exists: for its checkpoint, and whatever it leaves. Outside of a
    study: wconv_alone/DENSITY in the current folder."""
    resumed: bool
    """Whether the folder holds something, as of an attempt that was interrupted."""
    in_study: bool
    """Whether an agent has started this program."""

    def __init__(
        self, agent: Optional[Agent], described: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        """For `begin`, which has the arguments."""
        self.density = tuple(float(each) for each in described["density"])
        self.long_seed = int(described["seed"])
        self.seed = self.long_seed % SHORT_SEEDS
        self.folder = pathlib.Path(described["folder"])
        self.resumed = bool(described["resumed"])
        self.in_study = agent is not None
        self._agent = agent
        self._options = dict(options, **described["options"])
        self._metric: Optional[str] = described["metric"]
        self._is_first = described["rank"] == 0
        self._step = 0
        self._stop = False
        self._asked = 0
        self._quiet_calls = 0

    def __getitem__(self, name: str) -> Any:
        """Return an option, from `trainer.options` of the study or from `begin`.

        Raises:
            TrialError: neither names it.
        """
        try:
            return self._options[name]
        except KeyError:
            known = ", ".join(sorted(self._options)) or "none"
            raise TrialError(
                f"the trial has no option {name!r} (it has: {known}). Name it in "
                f"trainer.options of the study, or in begin({name}=...)."
            ) from None

    def report(self, step: int, **metrics: float) -> Answer:
        """Report metrics of the validation set, and return what to do next.

        Every rank calls it after each epoch, and gets the same answer; the metrics of rank 0
        count. A program that continues from a checkpoint goes on behind the step that it holds,
        or repeats steps.

        Args:
            step: number of epochs, or of other rounds, that are finished: 1 at the first report.
            metrics: finite numbers by name, the study's `objective.metric` among them.

        Raises:
            TrialError: the step was reported before, is not above 0, or the metric that the study
                asks for is missing.
            TrialDiverged: a metric is not finite.
        """
        if not isinstance(step, int) or step < 1:
            raise TrialError(
                f"report({step!r}, ...): a step is the number of finished epochs, 1 at the first "
                "report. Use epoch + 1 where epochs count from 0."
            )
        if step <= self._step:
            raise TrialError(
                f"report({step}, ...): step {self._step} was reported already, and steps rise. "
                "Report each epoch once."
            )
        numbers = self._checked(metrics, f"step {step}")
        if self._is_first and self._metric is not None and self._metric not in numbers:
            raise TrialError(
                "report({}, ...) has {}, but the objective of the study is {}. Report it, or "
                "change objective.metric.".format(
                    step, ", ".join(numbers) or "no metric", self._metric
                )
            )
        self._step = step
        if self._agent is None:
            if self._is_first:
                print_metrics(f"step {step}", numbers)
            return Answer(stop=False)
        message = {"step": step, "metrics": numbers, "joined": joined_ranks()}
        verdict = self._agent.ask("report", **message)["verdict"]
        self._stop = self._stop or verdict != "continue"
        return Answer(stop=verdict != "continue", pruned=verdict == "prune")

    @property
    def should_stop(self) -> bool:
        """Whether to save a checkpoint and end now, without `finish`: the time is up, the study is
        stopped, or the job is preempted.

        May be asked after every step of the optimizer; all ranks must ask equally often, and get
        the same answer at the same step. It costs next to nothing: most calls ask nobody.
        """
        if self._agent is None or self._stop:
            return self._stop
        if self._quiet_calls > 0:
            self._quiet_calls -= 1
            return False
        self._asked += 1
        answer = self._agent.ask("ask", number=self._asked)
        self._stop, self._quiet_calls = bool(answer["stop"]), int(answer["calls"])
        return self._stop

    def finish(
        self, *, weights: Union[str, "os.PathLike[str]", None] = None, **metrics: float
    ) -> None:
        """Say that the training is complete, with the metrics of the test set, e.g. test_accuracy.

        Every rank calls it, as the last thing; the metrics of rank 0 count. `test_` before the
        objective's name is the metric that a confirmation compares.

        Args:
            weights: file in `folder` with the trained network, in any format, which `wconv-sweep
                export --weights` copies as it is.
            metrics: finite numbers by name.

        Raises:
            TrialDiverged: a metric is not finite.
            TrialError: one is not a number, or the weights are not a file in `folder`.
        """
        numbers = self._checked(metrics, "the end")
        named = {}
        if weights is not None and self._is_first:
            named[WEIGHTS_KEY] = self._inside(weights)
        if self._agent is not None:
            self._agent.ask("finish", metrics=numbers, origin=dict(origin(), **named))
        elif self._is_first:
            print_metrics("finished", numbers)

    def _checked(self, metrics: Mapping[str, Any], when: str) -> Dict[str, float]:
        """Return the metrics that count, see `_finite`; others may be anything."""
        return _finite(metrics, when) if self._is_first else {}

    def _inside(self, weights: Union[str, "os.PathLike[str]"]) -> str:
        """Return the path of a file relative to the folder: other trials do not write there, and
        the folder may be moved."""
        whole, folder = os.path.realpath(weights), os.path.realpath(str(self.folder))
        if not os.path.isfile(whole) or os.path.commonpath([whole, folder]) != folder:
            raise TrialError(
                f"finish(weights={os.fspath(weights)!r}): is no file in the folder of the trial, "
                f"{folder}. Write it to trial.folder before, and name it by its path."
            )
        return os.path.relpath(whole, folder)


def _finite(metrics: Mapping[str, Any], when: str) -> Dict[str, float]:
    """Return metrics as numbers: also those in a tensor or an array of one element."""
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            raise TrialError(
                f"{name} is {value!r} at {when}, which is not a number. Report numbers alone."
            ) from None
        if not math.isfinite(numbers[name]):
            raise TrialDiverged(f"{name} is {numbers[name]} at {when}")
    return numbers
