"""Where the time of a pilot goes, by its log: what its lanes do from the first trial to the last.

first step      from the start of a trial to its first step: process, data, network
epochs          steps, and the validation after them
end             from the report of the epoch to the end of the trial: test, storage
between         from the end of a trial of a lane to the start of its next
no trial yet    from the first trial of any lane to the first of this one: the canary
no trial left   from the last trial of this lane to the last of any
"""

import datetime
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PARTS = ("no trial yet", "first step", "epochs", "end", "between", "no trial left")
_EVENT = re.compile(
    r"^(\S+ \S+) INFO (\S+) \S+ (trial started|epoch received|trial complete) trial=(\d+)(.*)$"
)


@dataclass
class Trial:
    """When a trial of one epoch did what, seconds since 1970."""

    lane: str
    started: float = 0.0
    reported: float = 0.0
    ended: float = 0.0
    epoch_s: float = 0.0

    @property
    def stepped(self) -> float:
        """When it took its first step."""
        return self.reported - self.epoch_s


def trials_of(folder: Path) -> dict[int, Trial]:
    """Return the completed trials, by number, that the pilots of the study in a folder log."""
    trials: dict[int, Trial] = {}
    for at, lane, name, number, facts in _events(folder):
        trial = trials.setdefault(number, Trial(lane))
        if name == "trial started":
            trial.started = at
        elif name == "epoch received":
            found = re.search(r"epoch_s=(\S+)", facts)
            assert found is not None, facts
            trial.reported, trial.epoch_s = at, float(found[1])
        else:
            trial.ended = at
    return trials


def parts_of(trials: dict[int, Trial]) -> dict[str, float]:
    """Return the lanes' time for each of `PARTS`, seconds, all lanes together."""
    first = min(trial.started for trial in trials.values())
    last = max(trial.ended for trial in trials.values())
    lanes: dict[str, list[Trial]] = defaultdict(list)
    for trial in sorted(trials.values(), key=lambda trial: trial.started):
        lanes[trial.lane].append(trial)
    parts = dict.fromkeys(PARTS, 0.0)
    for mine in lanes.values():
        parts["no trial yet"] += mine[0].started - first
        parts["no trial left"] += last - mine[-1].ended
        for before, after in pairwise(mine):
            parts["between"] += after.started - before.ended
        for trial in mine:
            parts["first step"] += trial.stepped - trial.started
            parts["epochs"] += trial.epoch_s
            parts["end"] += trial.ended - trial.reported
    return parts


def _events(folder: Path) -> Iterator[tuple[float, str, str, int, str]]:
    """Yield time (seconds since 1970), lane, name, trial and facts of what pilots have logged."""
    for log in folder.glob("wconv_runs/*/pilots/*_log.err"):
        for line in log.read_text("utf-8").splitlines():
            found = _EVENT.match(line)
            if found is not None:
                at = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")
                lane = f"{log.name} {found[2].split('/')[0]}"
                yield at.timestamp(), lane, found[3], int(found[4]), found[5]
