"""Words for the limits of a QOS or an account, such as QOSMaxGRESPerUser, taken apart.

SLURM 22.05 has 170 of them and 26.05 some more, all made by one rule: whose limit it is, what it
limits, and of whom. As a reason such a word says why a job waits, in a refusal why sbatch does not
take it. The text that follows it in a refusal is the same for all of them and names all causes.
"""

import re
from dataclasses import dataclass

_WORD = re.compile(
    r"(?P<owner>QOS|Assoc)?(?P<kind>Grp|Max|Min)"
    r"(?P<what>Cpu|CPU|Mem|Memory|Node|GRES|License|BB|Billing|Energy|Unknown|Wall|WallDuration"
    r"|Jobs?|SubmitJobs?)"
    r"(?P<hours>Minutes|RunMinutes|RunMins)?(?:Per(?P<of>Job|Node|User|Account))?"
    r"(?:Limit|NotSatisfied)?"
)
_OTHER_NAMES = {
    "MEMORY": "MEM",
    "WALLDURATION": "WALL",
    "JOBS": "JOB",
    "SUBMITJOBS": "SUBMITJOB",
}
_RESOURCES = {
    "CPU": "CPUs",
    "MEM": "memory",
    "NODE": "nodes",
    "GRES": "GPUs",
    "LICENSE": "licenses",
    "BB": "burst buffer",
    "BILLING": "billing units",
    "ENERGY": "energy",
    "UNKNOWN": "units of a resource",
}
_HOURS = {
    "CPU": "CPU-hours",
    "MEM": "memory-hours",
    "NODE": "node-hours",
    "GRES": "GPU-hours",
    "LICENSE": "license-hours",
    "BB": "burst-buffer-hours",
    "BILLING": "billed hours",
    "ENERGY": "units of energy",
    "UNKNOWN": "hours of a resource",
    "WALL": "hours",
}
_KEYS = {"CPU": "cpus_per_gpu", "MEM": "mem_per_gpu_mb", "GRES": "gpus_used_per_node"}


@dataclass(frozen=True)
class LimitWord:
    """A limit of a QOS or an account, as its word names it."""

    word: str
    """SLURM's own."""
    of_account: bool
    """Of an account or of the user in it, else of a QOS."""
    kind: str
    """`Grp` of all its jobs together, `Max` at most, `Min` at least."""
    what: str
    """The limited resource, in capitals; `JOB` for running and `SUBMITJOB` for all jobs."""
    hours: str
    """Empty, or what is limited is the resource times time: `Minutes` used, `Run` still to use."""
    of: str
    """`Job`, `Node`, `User`, `Account`, or empty: as the kind says."""

    @property
    def counts_jobs(self) -> bool:
        """Whether fewer or later jobs satisfy it, however large each is."""
        return self.what in ("JOB", "SUBMITJOB")

    @property
    def never(self) -> bool:
        """Whether a job that it keeps waiting can never start, whatever else ends."""
        if self.counts_jobs or self.kind == "Grp":
            return False
        return self.kind == "Min" or self.what == "WALL" or self.of in ("Job", "Node")

    def sentence(self) -> str:
        """Return what it means for a job that waits for it, and what to do, if anything."""
        owner = "the project" if self.of_account else "the QOS"
        if self.never:
            return (
                f"{self._beyond(owner)}, so it will never start: cancel it with scancel and "
                f"launch again; {self.remedy()}"
            )
        if self._used_up:
            return (
                f"{owner}'s {_HOURS[self.what]} are used up, or fewer are left than it may take: "
                f"{self.remedy()}"
            )
        by_user = self.kind == "Max" and self.of != "Account"
        whose = "yours" if by_user else "the project" if self.of == "Account" else owner
        if self.counts_jobs:
            return (
                f"as many jobs of {whose} run as {owner} allows at a time: it starts when some "
                "have ended"
            )
        if self.hours:
            return (
                f"running jobs of {whose} may still take all the {_HOURS[self.what]} that {owner} "
                "allows: it starts when they have less time left, and sooner with a shorter --time"
            )
        return (
            f"running jobs of {whose} have all the {_RESOURCES[self.what]} that {owner} allows at "
            "a time: it starts when some have ended; where none runs, it asks for more than that "
            "and never starts"
        )

    def remedy(self) -> str:
        """Return what to change in a request that it refuses."""
        if self.counts_jobs:
            return (
                "lower --pilots or pilots in the profile, or wait until jobs of yours have ended"
            )
        other = "choose another --account" if self.of_account else "choose another --qos"
        if self._used_up:
            return f"lower --time, {other}, or ask the site for more"
        if self.what == "WALL":
            return f"lower --time or walltime_min in the profile, or {other}"
        verb = "raise" if self.kind == "Min" else "lower"
        key = _KEYS.get(self.what)
        parts = ["--time"] if self.hours else []
        parts += ["--nodes", *([f"{key} in the profile"] if key else [])]
        return f"{verb} {' or '.join(parts)}, or {other}"

    @property
    def _used_up(self) -> bool:
        """Whether it adds up what jobs have used, those that have ended included."""
        if self.counts_jobs:
            return False
        return self.kind == "Grp" and (self.hours == "Minutes" or self.what == "WALL")

    def _beyond(self, owner: str) -> str:
        if self.what == "WALL":
            return f"its time limit is longer than {owner} allows"
        if self.kind == "Min":
            fewer = "less" if self.what in ("MEM", "ENERGY", "BB") else "fewer"
            return f"it asks for {fewer} {_RESOURCES[self.what]} than {owner} demands of a job"
        what = _HOURS[self.what] if self.hours else _RESOURCES[self.what]
        where = "on a node" if self.of == "Node" else "in a job"
        return f"it asks for more {what} {where} than {owner} allows"


def limit_word(word: str) -> LimitWord | None:
    """Return the limit that a word names; None: it names none."""
    found = _WORD.fullmatch(word)
    if found is None:
        return None
    what = found["what"].upper()
    hours = "Run" if (found["hours"] or "").startswith("Run") else found["hours"] or ""
    return LimitWord(
        word=word,
        of_account=found["owner"] == "Assoc",
        kind=found["kind"],
        what=_OTHER_NAMES.get(what, what),
        hours=hours,
        of=found["of"] or "",
    )


def limit_in(text: str) -> LimitWord | None:
    """Return the first limit whose word stands in a text, such as a message of sbatch."""
    found = (limit_word(word) for word in re.findall(r"[A-Za-z]+", text))
    return next((limit for limit in found if limit is not None), None)
