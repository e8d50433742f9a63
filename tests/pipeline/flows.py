"""Flows put together from parts that tests make."""

from facewright.detect import FaceDetector
from facewright.fit import FitPlan, FitSettings
from facewright.morphable.linear import FaceModel
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.regress.rnet import RNet


def rnet_estimator(model: FaceModel, rnet: RNet, *, looks: int = 1, weights: str = "") -> RNetEstimator:
    return RNetEstimator(rnet, model, FitPlan.of(model), FitSettings(), looks=looks, weights=weights)


def rnet_flow(
    model: FaceModel, detector: FaceDetector, rnet: RNet, *, looks: int = 1, weights: str = ""
) -> Reconstructor:
    return Reconstructor(detector, rnet_estimator(model, rnet, looks=looks, weights=weights), check=None)


def fit_flow(model: FaceModel, detector: FaceDetector) -> Reconstructor:
    return Reconstructor(detector, FitEstimator(model, FitPlan.of(model), FitSettings()))


def rnet_of(flow: Reconstructor) -> RNetEstimator:
    """The flow's estimator, which is R-Net."""
    assert isinstance(flow.estimator, RNetEstimator)
    return flow.estimator
