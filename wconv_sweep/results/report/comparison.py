"""The results of the studies of a storage, each beside the row of the paper that it repeats."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from wconv_jobs import catalog
from wconv_sweep.amounts import unit
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.conditions import read_conditions
from wconv_sweep.evidence.confirmation import Confirmation
from wconv_sweep.evidence.epoch_times import EPOCH_S, EpochTimes, epoch_times
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.statistics import Summary
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import selected_result
from wconv_sweep.results.report.paper import PUBLISHED, Published, published
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.storage.tables import SEARCHING, SlotState
from wconv_sweep.study.config import PLAIN, StudyConfig

Variant = Literal["standard", "weighted"]
VARIANTS: tuple[Variant, Variant] = ("standard", "weighted")

# The paper's names of a completed trial's metrics. Its UIQ fits the whole-image index alone.
_PUBLISHED_AS = {
    "test_accuracy": "accuracy",
    "test_macro_f1": "macro_f1",
    "test_nrmse": "nrmse",
    "test_psnr_db": "psnr_db",
    "test_ssim": "ssim",
    "test_fsim": "fsim",
    "test_uiq_global": "uiq",
}


@dataclass(frozen=True)
class Measurement:
    """One number of a report, with the published one."""

    table: str
    """Number of the paper's table; empty if the study is in none."""
    variant: Variant
    metric: str
    """Name in a trial's metrics. Computed here: `epoch_s_sd` and `epoch_s_runs`, spread and number
    of the runs of `epoch_s`; `overhead`, the extra time of an epoch with the weighted network,
    with its interval of 95 %, `overhead_low` and `overhead_high`, and the `overhead_pairs` of runs
    that it is from; `epoch_time`, the paper's time in its unknown unit; and `density_1`,
    `density_2`, ..., outermost first."""
    unit: str
    """Empty where there is none; `unknown` for the paper's times."""
    value: float | None
    published: float | None
    verdict: str = ""
    """Of an `overhead`: slower, faster, none or not known."""


@dataclass(frozen=True)
class Comparison:
    """A study: its standard network, its best weighted one, and the paper's values of both."""

    status: StudyStatus
    result: StudyResult
    published: Published | None
    """None if the paper has no such row, and for a smoke run or unverified data, which repeat
    none."""
    times: EpochTimes
    """Of an epoch of the standard network and of the weighted one."""

    @property
    def config(self) -> StudyConfig:
        """The study's definition."""
        return self.status.config

    @property
    def classification(self) -> bool:
        """Whether the network classifies, rather than denoises."""
        if self.config.trainer is not None:
            return False
        return catalog.data_kind(self.config.data.name, self.config.data.kind) == "classification"

    @property
    def architecture(self) -> str:
        """Name of the network, the paper's if it has one."""
        return self.published.title if self.published else self.config.model.name

    @property
    def recipe(self) -> str:
        """Preset of the recipe, or `own`."""
        return self.config.recipe.preset or "own"

    @property
    def confirmation(self) -> Confirmation | None:
        """The results of fresh seeds; None before both networks have completed one."""
        return _confirmation(self.status)

    def seconds(self, variant: Variant) -> Summary | None:
        """Return the time of an epoch over the runs of a variant, seconds; None without one."""
        return self.times.standard if variant == "standard" else self.times.weighted

    @property
    def plain_is_best(self) -> bool:
        """Whether no density tried beat the standard network on the validation set."""
        return self.result.best is self.result.plain

    def trial(self, variant: Variant) -> TrialRow | None:
        """Return the trial of a variant; None when the plain baseline has not completed.

        If a density was confirmed, it is that of the first of its seeds.
        """
        return self.result.plain if variant == "standard" else self.result.best

    def value(self, variant: Variant, metric: str) -> float | None:
        """Return a metric of a variant's trial, or its mean over the seeds of the confirmation.

        None when there is none. The time of an epoch is in `times`.
        """
        if self.confirmation is not None:
            standard = variant == "standard"
            arm = self.confirmation.plain if standard else self.confirmation.selected
            summary = arm.summary(metric) if arm else None
            return summary.mean if summary else None
        trial = self.trial(variant)
        return None if trial is None else trial.metrics.get(metric)

    def published_value(self, variant: Variant, metric: str) -> float | None:
        """Return the paper's value of a metric; None if it is lost or there is none."""
        if self.published is None or metric not in _PUBLISHED_AS:
            return None
        scores = self.published.standard if variant == "standard" else self.published.weighted
        value: float | None = asdict(scores).get(_PUBLISHED_AS[metric])
        return value

    def measurements(self) -> Iterator[Measurement]:
        """Yield every number of the study, also those that the tables leave out."""
        scores, times = self._tables()
        for variant in VARIANTS:
            for metric in self._metrics(variant):
                yield Measurement(
                    scores,
                    variant,
                    metric,
                    unit(metric, self.config.own_unit(metric)),
                    self.value(variant, metric),
                    self.published_value(variant, metric),
                )
            yield from self._densities(variant, self.trial(variant), scores)
            yield from self._seconds(variant, times)
        theirs = self.published.times if self.published else None
        if theirs is not None:
            for variant, time in zip(VARIANTS, (theirs.standard, theirs.weighted), strict=True):
                yield Measurement(times, variant, "epoch_time", "unknown", None, time)
        if theirs is not None or (self.times.standard and self.times.weighted):
            yield from self._overhead(times, theirs.overhead_percent if theirs else None)

    def _seconds(self, variant: Variant, table: str) -> Iterator[Measurement]:
        found = self.seconds(variant)
        if found is not None:
            yield Measurement(table, variant, EPOCH_S, "s", found.mean, None)
            yield Measurement(table, variant, f"{EPOCH_S}_sd", "s", found.sd, None)
            yield Measurement(table, variant, f"{EPOCH_S}_runs", "", found.seeds, None)

    def _overhead(self, table: str, theirs: float | None) -> Iterator[Measurement]:
        times = self.times
        low, high = times.interval_percent or (None, None)
        value = times.overhead_percent
        yield Measurement(table, "weighted", "overhead", "%", value, theirs, times.verdict)
        yield Measurement(table, "weighted", "overhead_low", "%", low, None)
        yield Measurement(table, "weighted", "overhead_high", "%", high, None)
        yield Measurement(table, "weighted", "overhead_pairs", "", times.pairs, None)

    def _metrics(self, variant: Variant) -> list[str]:
        """Return the metrics that the variant's trial has or the paper gives."""
        trial = self.trial(variant)
        published = {
            metric for metric in _PUBLISHED_AS if self.published_value(variant, metric) is not None
        }
        return sorted(published | set(trial.metrics if trial else ()) - {EPOCH_S})

    def _densities(
        self, variant: Variant, trial: TrialRow | None, table: str
    ) -> Iterator[Measurement]:
        ours = (trial.density if trial else None) or ()
        best = variant == "weighted" and self.published is not None
        theirs = self.published.density if self.published and best else ()
        for place in range(max(len(ours), len(theirs))):
            yield Measurement(
                table,
                variant,
                f"density_{place + 1}",
                "",
                ours[place] if place < len(ours) else None,
                theirs[place] if place < len(theirs) else None,
            )

    def _tables(self) -> tuple[str, str]:
        if self.published is None:
            return "", ""
        return ("3", "4") if self.classification else ("5", "6")


def report(storage: Storage, study: str | None) -> list[Comparison]:
    """Return one study, or all studies with a completed trial.

    Those that repeat a row of the paper come first, in the paper's order, then the others, in
    alphabetical order.

    Raises:
        StudyError: there is no such study, or nothing has completed yet.
    """
    names = [study] if study else study_names(storage)
    compared = compare(storage, [read_status(storage, name) for name in names])
    if not compared:
        what = f"study {study}" if study else storage.name
        raise StudyError(
            f"{what}: no trial has completed yet, so there is nothing to report. "
            "`wconv-sweep status` shows the progress."
        )
    return compared


def compare(storage: Storage, statuses: Sequence[StudyStatus]) -> list[Comparison]:
    """Return those of some studies that have a completed trial, in the order of a report."""
    compared = [
        Comparison(status, result, _published(status.config), _times(storage, status, result))
        for status in statuses
        if (result := _result(status)) is not None
    ]
    return sorted(compared, key=_place)


def _times(storage: Storage, status: StudyStatus, result: StudyResult) -> EpochTimes:
    standard, weighted = _timed(status, result)
    positions = [row.position for row in (*standard, *weighted)]
    return epoch_times(standard, weighted, read_conditions(storage, status.study, positions))


def _timed(status: StudyStatus, result: StudyResult) -> tuple[list[TrialRow], list[TrialRow]]:
    """Return the runs whose times are compared: of plain convolution and of the best density."""
    if status.config.search.also:
        return [], []  # two networks with two recipes take what they take
    confirmation = _confirmation(status)
    if confirmation is not None and confirmation.selected is not None:
        return list(confirmation.plain.runs.values()), list(confirmation.selected.runs.values())
    searched = [
        row for row in status.trials if row.state is SlotState.COMPLETE and row.stage in SEARCHING
    ]
    standard = [row for row in searched if row.label == PLAIN]
    return standard, [
        row for row in searched if row.density == result.best.density and row not in standard
    ]


def _confirmation(status: StudyStatus) -> Confirmation | None:
    found = status.confirmation
    return found if found and found.selected and found.plain.runs else None


def _result(status: StudyStatus) -> StudyResult | None:
    # Until both networks have completed a fresh seed, the runs of the search are shown.
    return status.result if _confirmation(status) is None else selected_result(status)


def _place(comparison: Comparison) -> tuple[int, str]:
    row = comparison.published
    place = len(PUBLISHED) if row is None else PUBLISHED.index(row)
    return place, comparison.config.study


def _published(config: StudyConfig) -> Published | None:
    # The paper searched the density alone.
    if config.is_smoke or is_unverified(config) or config.search.also:
        return None
    return published(config.data.name, config.model.name, config.kernel_size)


def is_unverified(config: StudyConfig) -> bool:
    """Return whether nobody has looked if the data are those that were published."""
    return config.data.options.get("verify") is False
