"""The results of the studies of a storage, each beside the row of the paper that it repeats."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from wconv_jobs import catalog
from wconv_sweep.amounts import unit
from wconv_sweep.errors import StudyError
from wconv_sweep.evidence.confirmation import Confirmation
from wconv_sweep.evidence.results import StudyResult, TrialRow
from wconv_sweep.evidence.study_status import StudyStatus, read_status
from wconv_sweep.results.export.entries import named_result
from wconv_sweep.results.report.paper import PUBLISHED, Published, overhead_percent, published
from wconv_sweep.storage.open_storage import Storage
from wconv_sweep.storage.study_lookup import study_names
from wconv_sweep.study.config import StudyConfig

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
    """Name in a trial's metrics. Computed here: `overhead`, the extra time of an epoch with
    the weighted network; `epoch_time`, the paper's time in its unknown unit; and `density_1`,
    `density_2`, ..., outermost first."""
    unit: str
    """Empty where there is none; `unknown` for the paper's times."""
    value: float | None
    published: float | None


@dataclass(frozen=True)
class Comparison:
    """A study: its standard network, its best weighted one, and the paper's values of both."""

    status: StudyStatus
    result: StudyResult
    published: Published | None
    """None if the paper has no such row, and for a smoke run or unverified data, which repeat
    none."""

    @property
    def config(self) -> StudyConfig:
        """The study's definition."""
        return self.status.config

    @property
    def classification(self) -> bool:
        """Whether the network classifies, rather than denoises."""
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

        None when there is none.
        """
        if self.confirmation is not None:
            standard = variant == "standard"
            arm = self.confirmation.plain if standard else self.confirmation.named
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

    @property
    def same_device(self) -> bool:
        """Whether both trials ran on devices of the same name, so that times can be compared."""
        plain = self.result.plain
        return plain is not None and (
            plain.provenance.get("device") == self.result.best.provenance.get("device")
        )

    @property
    def overhead_percent(self) -> float | None:
        """Extra time of an epoch with the weighted network, in percent.

        None when a time is missing, when the devices differ, or when the best is plain.
        """
        standard, weighted = (self.value(variant, "epoch_s") for variant in VARIANTS)
        if not standard or weighted is None or self.plain_is_best or not self.same_device:
            return None
        return overhead_percent(standard, weighted)

    def measurements(self) -> Iterator[Measurement]:
        """Yield every number of the study, also those that the tables leave out."""
        scores, times = self._tables()
        for variant in VARIANTS:
            trial = self.trial(variant)
            for metric in self._metrics(variant):
                yield Measurement(
                    times if metric == "epoch_s" else scores,
                    variant,
                    metric,
                    _unit(metric),
                    self.value(variant, metric),
                    self.published_value(variant, metric),
                )
            yield from self._densities(variant, trial, scores)
        if self.published is not None:
            for variant in VARIANTS:
                paper = self.published.times
                time = paper.standard if variant == "standard" else paper.weighted
                yield Measurement(times, variant, "epoch_time", "unknown", None, time)
        theirs = self.published.times.overhead_percent if self.published else None
        if theirs is not None or self.overhead_percent is not None:
            yield Measurement(times, "weighted", "overhead", "%", self.overhead_percent, theirs)

    def _metrics(self, variant: Variant) -> list[str]:
        """Return the metrics that the variant's trial has or the paper gives."""
        trial = self.trial(variant)
        published = {
            metric for metric in _PUBLISHED_AS if self.published_value(variant, metric) is not None
        }
        return sorted(published | set(trial.metrics if trial else ()))

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
    compared = compare([read_status(storage, name) for name in names])
    if not compared:
        what = f"study {study}" if study else storage.name
        raise StudyError(
            f"{what}: no trial has completed yet, so there is nothing to report. "
            "`wconv-sweep status` shows the progress."
        )
    return compared


def compare(statuses: Sequence[StudyStatus]) -> list[Comparison]:
    """Return those of some studies that have a completed trial, in the order of a report."""
    compared = [
        Comparison(status, result, _published(status.config))
        for status in statuses
        if (result := _result(status)) is not None
    ]
    return sorted(compared, key=_place)


def _confirmation(status: StudyStatus) -> Confirmation | None:
    found = status.confirmation
    return found if found and found.named and found.plain.runs else None


def _result(status: StudyStatus) -> StudyResult | None:
    # Until both networks have completed a fresh seed, the runs of the search are shown.
    return status.result if _confirmation(status) is None else named_result(status)


def _place(comparison: Comparison) -> tuple[int, str]:
    row = comparison.published
    place = len(PUBLISHED) if row is None else PUBLISHED.index(row)
    return place, comparison.config.study


def _published(config: StudyConfig) -> Published | None:
    if config.is_smoke or is_unverified(config):
        return None
    return published(config.data.name, config.model.name, config.kernel_size)


def is_unverified(config: StudyConfig) -> bool:
    """Return whether nobody has looked if the data are those that were published."""
    return config.data.options.get("verify") is False


def _unit(metric: str) -> str:
    return "s" if metric == "epoch_s" else unit(metric)
