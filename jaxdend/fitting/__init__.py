"""Fit a model's parameters to recordings: a parameter space, trace losses, a gradient loop."""

from jaxdend.fitting import features as features
from jaxdend.fitting._fit import default_optimizer, fit
from jaxdend.fitting._forcing import teacher_force
from jaxdend.fitting._losses import (
    mse,
    smoothed_mse,
    smoothed_rms,
    soft_dtw,
    soft_spikes,
    van_rossum,
    van_rossum_times,
    window_loss,
)
from jaxdend.fitting._nudging import nudging
from jaxdend.fitting._objective import Objective
from jaxdend.fitting._posterior import Posterior, sample_posterior
from jaxdend.fitting._protocol import FeatureTerm, Protocol
from jaxdend.fitting._prune import Prune
from jaxdend.fitting._quasi_newton import least_squares, quasi_newton
from jaxdend.fitting._result import FitResult
from jaxdend.fitting._sbi import sbi_params, sbi_prior, sbi_simulator
from jaxdend.fitting._search import search
from jaxdend.fitting._shooting import Shooting
from jaxdend.fitting._space import Parameter, ParameterSpace
from jaxdend.fitting._steps import normalised, polyak

__all__ = [
    "FeatureTerm",
    "FitResult",
    "Objective",
    "Parameter",
    "ParameterSpace",
    "Posterior",
    "Protocol",
    "Prune",
    "Shooting",
    "default_optimizer",
    "features",
    "fit",
    "least_squares",
    "mse",
    "normalised",
    "nudging",
    "polyak",
    "quasi_newton",
    "sample_posterior",
    "sbi_params",
    "sbi_prior",
    "sbi_simulator",
    "search",
    "smoothed_mse",
    "smoothed_rms",
    "soft_dtw",
    "soft_spikes",
    "teacher_force",
    "van_rossum",
    "van_rossum_times",
    "window_loss",
]
