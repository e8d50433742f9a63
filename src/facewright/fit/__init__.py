"""Coefficients by optimisation (analysis by synthesis): the face that explains the evidence, given a prior."""

from facewright.fit.evidence import ContourEvidence, Evidence, PointEvidence, Ramp
from facewright.fit.face import FitResult, fit_face
from facewright.fit.plan import FitPlan
from facewright.fit.pose import first_pose
from facewright.fit.prior import around, prior_of
from facewright.fit.settings import FitSettings
from facewright.fit.solver import Prior
from facewright.fit.together import PhotoEvidence, fit_together

__all__ = [
    "ContourEvidence",
    "Evidence",
    "FitPlan",
    "FitResult",
    "FitSettings",
    "PhotoEvidence",
    "PointEvidence",
    "Prior",
    "Ramp",
    "around",
    "first_pose",
    "fit_face",
    "fit_together",
    "prior_of",
]
