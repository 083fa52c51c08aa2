"""The weighted convolution for PyTorch (Cammarasana and Patane 2025, arXiv:2505.24558)."""

from wconv_kernels.conv import WeightedConv, WeightedConv1d, WeightedConv2d, WeightedConv3d
from wconv_kernels.convert import fold, replace_convolutions
from wconv_kernels.density import (
    Densities,
    DensityLike,
    densities_by_size,
    density_from_kernel,
    density_kernel,
    density_values,
)
from wconv_kernels.engine import DensityEngine
from wconv_kernels.errors import DensityError, EngineError, SiteError
from wconv_kernels.exported import load_density
from wconv_kernels.reference import weighted_conv
from wconv_kernels.sites import Convolution, sites

__all__ = [
    "Convolution",
    "Densities",
    "DensityEngine",
    "DensityError",
    "DensityLike",
    "EngineError",
    "SiteError",
    "WeightedConv",
    "WeightedConv1d",
    "WeightedConv2d",
    "WeightedConv3d",
    "densities_by_size",
    "density_from_kernel",
    "density_kernel",
    "density_values",
    "fold",
    "load_density",
    "replace_convolutions",
    "sites",
    "weighted_conv",
]
