"""Coefficients by optimisation (analysis by synthesis), from points and pixels: the same record as of ``regress``."""

from facewright.fit.face import FitResult, FitSettings, fit_face

__all__ = ["FitResult", "FitSettings", "fit_face"]
