"""The table of methods: name -> loader. A new method is one line here and an estimator."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from facewright.bounds import check_number
from facewright.errors import AssetNotFoundError, SettingsError, WeightsError
from facewright.fit import FitPlan, FitSettings
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap, mirror_partners
from facewright.pipeline.estimator import Estimator
from facewright.pipeline.evidence import seen_points_of
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.mirrored import Mirror
from facewright.pipeline.prnet_estimator import PRNetEstimator
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.regress.weights import EMBEDDED_WEIGHTS, describe_weights, load_weights, read_card

EMBEDDED_REFINE = 1
"""Rounds of the fit after an embedded R-Net; weights that are brought keep to their own method: none."""


@dataclass(frozen=True)
class MethodParts:
    """What a method is loaded with.

    Attributes:
        face_model: on its device; networks and the fit speak of it.
        decoder: the same model, or one with more vertices, that answers are decoded with.
        fit: settings of the fit.
        weights: of its network: a file or the name of an embedded one; None for methods without a network.
        refine: rounds of the fit after its answer; None: as many as suit the weights.
    """

    face_model: FaceModel
    decoder: FaceModel
    fit: FitSettings
    weights: str | os.PathLike[str] | None = None
    refine: int | None = None


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        load: makes the estimator.
        kind: of the weights that it reads (``regress.kinds``); None: it takes none.
        embedded: name of a face model -> weights in the package that are for it, taken where none are named.
        refines: whether rounds of the fit may follow its answer.
    """

    load: Callable[[MethodParts], Estimator]
    kind: str | None = None
    embedded: Mapping[str, str] = field(default_factory=dict)
    refines: bool = False


def load_fit(parts: MethodParts) -> Estimator:
    """Method ``fit``."""
    return FitEstimator(parts.decoder, FitPlan.of(parts.face_model), parts.fit)


def load_rnet(parts: MethodParts) -> Estimator:
    """Method ``rnet``; weights for any face model.

    Raises:
        AssetNotFoundError: no such weights.
        WeightsError: they do not fit the face model.
    """
    model, weights = parts.face_model, parts.weights
    assert weights is not None  # the table says that it takes some
    rnet = load_weights(weights, layout=model.layout, face_model=model.name, edition=model.edition, kind="rnet").to(
        model.mean_shape.device
    )
    usual = EMBEDDED_REFINE if weights in EMBEDDED_WEIGHTS else 0
    plan, codes = FitPlan.of(model), MirrorMap.of(model)
    partners = None if rnet.point_ids is None else mirror_partners(model, rnet.point_ids)
    return RNetEstimator(
        rnet,
        parts.decoder,
        plan,
        parts.fit,
        looks=1 if rnet.landmark_head is None else 2,
        refine=usual if parts.refine is None else parts.refine,
        weights=Path(weights).name,
        seen=None if rnet.point_ids is None else seen_points_of(model, plan, rnet.point_ids),
        mirror=None if codes is None or partners is None else Mirror(codes, partners),
    )


def load_prnet(parts: MethodParts) -> Estimator:
    """Method ``prnet``; its weights hold all that their maps need, so that the face model is not asked.

    Raises:
        AssetNotFoundError: no such weights.
        WeightsError: they are damaged.
    """
    assert parts.weights is not None  # the table says that it takes some
    net = load_weights(parts.weights, kind="prnet").to(parts.face_model.mean_shape.device)
    looks = 1 if net.decoder is None else 2
    return PRNetEstimator.of(net, read_card(parts.weights).template, weights=Path(parts.weights).name, looks=looks)


METHODS: dict[str, Method] = {
    "rnet": Method(load_rnet, kind="rnet", embedded={"open": "open"}, refines=True),
    "prnet": Method(load_prnet, kind="prnet"),
    "fit": Method(load_fit),
}
"""What ``auto`` tries comes first."""

FALLBACK = "fit"
"""The method that needs nothing: taken where there are no weights, and where another's answer is not believed."""

MOST_ROUNDS = 100
"""Of the fit after a network; it has settled long before."""

AUTO = "auto"
"""The method that goes by the weights that are there."""


def load_estimator(name: str, parts: MethodParts) -> Estimator:
    """A method by its name, with the weights that it needs.

    Args:
        name: in ``METHODS``; or ``auto``: the method that named weights are for; without any the first that has weights
            for the face model in the package; else the fit.
        parts: ``weights`` may be None for any method.

    Raises:
        SettingsError: no such method, or settings that it would ignore.
        AssetNotFoundError: no such weights, or none for a method that needs some.
        WeightsError: they are for another method, or do not fit the face model.
    """
    if parts.refine is not None:
        check_number("refine", parts.refine, SettingsError, most=MOST_ROUNDS)
    chosen = _automatic(parts) if name == AUTO else name
    if not isinstance(chosen, str) or chosen not in METHODS:
        raise SettingsError(f"expected a method out of {', '.join((AUTO, *METHODS))}, received {name!r}")
    method = METHODS[chosen]
    if parts.refine is not None and not method.refines:
        raise SettingsError(f"expected no rounds to refine with method {chosen!r}, received {parts.refine}")
    return method.load(
        MethodParts(parts.face_model, parts.decoder, parts.fit, _weights_for(chosen, method, parts), parts.refine)
    )


def _automatic(parts: MethodParts) -> str:
    if parts.weights is not None:
        return _method_of(parts.weights)
    return next((name for name, method in METHODS.items() if parts.face_model.name in method.embedded), FALLBACK)


def _method_of(weights: str | os.PathLike[str]) -> str:
    """The method that reads weights."""
    kind = describe_weights(weights).get("kind")
    found = next((name for name, method in METHODS.items() if method.kind is not None and method.kind == kind), None)
    if found is None:
        known = ", ".join(sorted({method.kind for method in METHODS.values() if method.kind is not None}))
        raise WeightsError(
            f"{os.fspath(weights)}: expected weights of a kind that a method reads ({known}), received kind {kind!r}; "
            "was it made by a newer version?"
        )
    return found


def _weights_for(name: str, method: Method, parts: MethodParts) -> str | os.PathLike[str] | None:
    if method.kind is None:
        if parts.weights is not None:
            raise SettingsError(
                f"expected no weights with method {name!r}, which has no network, received "
                f"{os.fspath(parts.weights)!r}; leave out one of them"
            )
        return None
    if parts.weights is None:
        embedded = method.embedded.get(parts.face_model.name)
        if embedded is None:
            raise AssetNotFoundError(
                f"method {name!r} expects weights for face model {parts.face_model.name!r}, received none: pass "
                "--weights F.safetensors (facewright weights import makes one from the official checkpoints), or use "
                "--method fit"
            )
        return embedded
    if _method_of(parts.weights) != name:
        raise WeightsError(
            f"{os.fspath(parts.weights)} holds weights for method {_method_of(parts.weights)!r}, and {name!r} is asked "
            "for; leave out --method, or name other weights"
        )
    return parts.weights
