"""Coefficients by optimisation (analysis by synthesis): the same record as ``regress`` gives, from points and pixels."""

from facewright.fit.face import FitResult, FitSettings, fit_face

__all__ = ["FitResult", "FitSettings", "fit_face"]
