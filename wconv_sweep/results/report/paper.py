"""The values that the paper publishes, to show beside ours.

Source: Cammarasana and Patane 2025, arXiv:2505.24558, Tables 3 to 6. Known are the best densities,
the epoch times, the F1 of the standard networks of Table 3, the standard networks of Table 5, and
the PSNR of three weighted ones; the abstract adds both accuracies of VGG. All other values are
lost in the copies of the paper at hand and None here. The unit of the times is lost, too.
"""

from dataclasses import dataclass
from typing import Literal

from wconv_jobs.spec import Density

SOURCE = "arXiv:2505.24558"


@dataclass(frozen=True, kw_only=True)
class ClassificationScores:
    """One row of Table 3, on the test set of CIFAR-100; None is lost."""

    accuracy: float | None = None
    """Share of correct predictions, from 0 to 1; the paper gives percent."""
    macro_f1: float | None = None
    """Mean F1 over the classes, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class DenoisingScores:
    """One row of Table 5, on the test set of DIV2K; None is lost."""

    nrmse: float | None = None
    """Called a mean squared error in the text; agrees with RMSE / (max - min)."""
    psnr_db: float | None = None
    ssim: float | None = None
    fsim: float | None = None
    uiq: float | None = None
    """Of the whole image as one window, most probably: windows of 8x8 give far less."""


@dataclass(frozen=True)
class EpochTimes:
    """A pair of entries of Table 4 or 6: the time of one training epoch, unit lost."""

    standard: float
    weighted: float

    @property
    def overhead_percent(self) -> float:
        """Extra time of an epoch with weighted convolutions, in percent."""
        return overhead_percent(self.standard, self.weighted)


@dataclass(frozen=True, kw_only=True)
class Published:
    """An architecture with one kernel size, with standard and with weighted convolutions."""

    data: Literal["cifar100", "div2k"]
    """Name of the data set here."""
    architecture: str
    """Name of the network here."""
    title: str
    """Its name in the paper."""
    kernel_size: int
    density: Density
    """The best one, outermost coefficient first."""
    standard: ClassificationScores | DenoisingScores
    weighted: ClassificationScores | DenoisingScores
    times: EpochTimes


def overhead_percent(standard: float, weighted: float) -> float:
    """Return the percentage by which `weighted` exceeds `standard`."""
    return 100 * (weighted / standard - 1)


def published(data: str, architecture: str, kernel_size: int) -> Published | None:
    """Return the paper's row of an architecture on a data set; None if there is none."""
    wanted = (data, architecture, kernel_size)
    return next(
        (row for row in PUBLISHED if (row.data, row.architecture, row.kernel_size) == wanted),
        None,
    )


def _classification(
    architecture: str,
    title: str,
    density: float,
    standard: ClassificationScores,
    times: EpochTimes,
    weighted: ClassificationScores = ClassificationScores(),
) -> Published:
    return Published(
        data="cifar100",
        architecture=architecture,
        title=title,
        kernel_size=3,
        density=(density,),
        standard=standard,
        weighted=weighted,
        times=times,
    )


def _denoising(
    architecture: str,
    title: str,
    density: Density,
    standard: tuple[float, float, float, float, float],
    times: EpochTimes,
    weighted_psnr_db: float | None = None,
) -> Published:
    nrmse, psnr_db, ssim, fsim, uiq = standard
    return Published(
        data="div2k",
        architecture=architecture,
        title=title,
        kernel_size=2 * len(density) + 1,
        density=density,
        standard=DenoisingScores(nrmse=nrmse, psnr_db=psnr_db, ssim=ssim, fsim=fsim, uiq=uiq),
        weighted=DenoisingScores(psnr_db=weighted_psnr_db),
        times=times,
    )


PUBLISHED = (
    # Tables 3 and 4. The abstract has the accuracies of VGG.
    _classification(
        "resnet56", "ResNet56", 1.15, ClassificationScores(macro_f1=0.384), EpochTimes(202, 215)
    ),
    _classification(
        "vgg16",
        "VGG",
        0.75,
        ClassificationScores(accuracy=0.5689, macro_f1=0.566),
        EpochTimes(378, 414),
        weighted=ClassificationScores(accuracy=0.6694),
    ),
    _classification(
        "nin", "NiN", 0.90, ClassificationScores(macro_f1=0.518), EpochTimes(109, 115)
    ),
    _classification(
        "gmlp", "gMLP", 0.95, ClassificationScores(macro_f1=0.307), EpochTimes(54, 56)
    ),
    _classification(
        "gac_snn", "GAC-SNN", 0.80, ClassificationScores(macro_f1=0.540), EpochTimes(118, 130)
    ),
    # Tables 5 and 6. In the standard rows: NRMSE, PSNR, SSIM, FSIM, UIQ.
    _denoising(
        "dncnn",
        "DnCNN",
        (0.8,),
        (0.112, 20.17, 0.735, 0.921, 0.925),
        EpochTimes(2.43, 2.50),
        weighted_psnr_db=22.63,
    ),
    _denoising(
        "nafnet",
        "NAFNet",
        (0.7,),
        (0.064, 24.82, 0.865, 0.963, 0.938),
        EpochTimes(2.08, 2.10),
        weighted_psnr_db=25.83,
    ),
    _denoising(
        "cgnet", "CGNet", (0.8,), (0.048, 26.57, 0.896, 0.970, 0.933), EpochTimes(3.04, 3.07)
    ),
    _denoising(
        "dncnn", "DnCNN", (0.1, 0.9), (0.266, 12.15, 0.402, 0.768, 0.813), EpochTimes(9.48, 9.76)
    ),
    _denoising(
        "nafnet",
        "NAFNet",
        (0.5, 0.9),
        (0.068, 24.13, 0.842, 0.957, 0.934),
        EpochTimes(8.92, 9.11),
        weighted_psnr_db=27.19,
    ),
    _denoising(
        "cgnet", "CGNet", (0.6, 0.9), (0.051, 26.01, 0.801, 0.969, 0.932), EpochTimes(11.02, 11.13)
    ),
)
"""All rows in the order of the paper's tables."""
