"""The table of methods: name -> loader. A new method is one line here and an estimator."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from facewright.bounds import check_number
from facewright.errors import AssetNotFoundError, ReconstructionError, SettingsError, WeightsError
from facewright.fit import FitPlan, FitSettings
from facewright.fit.laying import lay_on
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap
from facewright.pipeline.estimator import Estimator
from facewright.pipeline.evidence import seen_points_of
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.guided_estimator import GuidedEstimator, seen_on
from facewright.pipeline.mirrored import Mirror
from facewright.pipeline.morphable_estimator import MorphableEstimator, check_codes
from facewright.pipeline.prnet_estimator import PRNetEstimator
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.pipeline.shared_trunks import SharedTrunks
from facewright.regress.morphable_cnn import MorphableCNN, check_trunks
from facewright.regress.rnet import RNet
from facewright.regress.weights import EMBEDDED_WEIGHTS, describe_weights, load_weights, read_card

_log = logging.getLogger(__name__)

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
        for_any: weights in the package that serve every other face model; empty: none.
    """

    load: Callable[[MethodParts], Estimator]
    kind: str | None = None
    embedded: Mapping[str, str] = field(default_factory=dict)
    refines: bool = False
    for_any: str = ""


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
    plan = FitPlan.of(model)
    return RNetEstimator(
        rnet,
        parts.decoder,
        plan,
        parts.fit,
        looks=1 if rnet.landmark_head is None else 2,
        refine=usual if parts.refine is None else parts.refine,
        weights=Path(weights).name,
        seen=None if rnet.point_ids is None else seen_points_of(model, plan, rnet.point_ids),
        mirror=Mirror.of(model, rnet.point_ids),
    )


def load_guided(parts: MethodParts) -> Estimator:
    """Method ``guided``: the open head's R-Net beside a face model that has none.

    Raises:
        AssetNotFoundError: no such weights.
        WeightsError: they are not an R-Net's for the open head.
        ReconstructionError: the face model has no landmarks, or no face where they are.
    """
    model, weights = parts.face_model, parts.weights
    assert weights is not None  # the table says that it takes some
    device = model.mean_shape.device
    head = load_face_model(GUIDE).to(device)
    guide = load_rnet(MethodParts(head, head, parts.fit, weights, 0))
    assert isinstance(guide, RNetEstimator)
    plan, laid, ids = FitPlan.of(model), lay_on(head, model), guide.rnet.point_ids
    seen = None if guide.seen is None or ids is None else seen_on(laid, guide.seen, ids, plan)
    return GuidedEstimator(guide, parts.decoder, plan, parts.fit, laid, seen)


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


def load_morphable_cnn(parts: MethodParts) -> Estimator:
    """Method ``3dmm-cnn``; weights for any face model, with a trunk of their own or reading those of others.

    Raises:
        AssetNotFoundError: no such weights.
        WeightsError: they do not fit the face model, or the networks whose features they read.
    """
    model, weights = parts.face_model, parts.weights
    assert weights is not None  # the table says that it takes some
    net: MorphableCNN = load_weights(weights, face_model=model.name, edition=model.edition, kind="3dmm-cnn")
    check_codes(net, model, os.fspath(weights))
    device, name = model.mean_shape.device, Path(weights).name
    trunks = guide = None
    if net.trunks:
        trunks = SharedTrunks.load(net.trunks).to(device)
        check_trunks(net, trunks.fingerprints, os.fspath(weights))
        of_rnet = next(trunk for trunk in net.trunks if isinstance(trunks.nets[trunk], RNet))
        guide = load_rnet(replace(parts, weights=of_rnet, refine=0))
        assert isinstance(guide, RNetEstimator)
    plan = FitPlan.of(model) if guide is None else guide.plan
    mirror = MirrorMap.of(model) if net.mirrored else None
    template = read_card(weights).template
    return MorphableEstimator(
        net.to(device), parts.decoder, plan, parts.fit, template, trunks, guide, mirror, weights=name
    )


METHODS: dict[str, Method] = {
    "rnet": Method(load_rnet, kind="rnet", embedded={"open": "open"}, refines=True),
    "prnet": Method(load_prnet, kind="prnet", embedded={"open": "prnet"}),
    "3dmm-cnn": Method(load_morphable_cnn, kind="3dmm-cnn", embedded={"open": "3dmm-cnn"}),
    "guided": Method(load_guided, kind="rnet", for_any="open"),
    "fit": Method(load_fit),
}
"""What ``auto`` tries comes first."""

FALLBACK = "fit"
"""The method that needs nothing: taken where there are no weights, and where another's answer is not believed."""

GUIDE = "open"
"""The face model of the network that ``guided`` asks."""

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
    if name == AUTO:
        return _load_automatic(parts)
    if not isinstance(name, str) or name not in METHODS:
        raise SettingsError(f"expected a method out of {', '.join((AUTO, *METHODS))}, received {name!r}")
    return _load(name, parts)


def _load(name: str, parts: MethodParts) -> Estimator:
    method = METHODS[name]
    if parts.refine is not None and not method.refines:
        raise SettingsError(f"expected no rounds to refine with method {name!r}, received {parts.refine}")
    return method.load(replace(parts, weights=_weights_for(name, method, parts)))


def _load_automatic(parts: MethodParts) -> Estimator:
    """By the weights that are named, or that are there."""
    if parts.weights is not None:
        return _load(_method_of(parts.weights, parts.face_model), parts)
    name = next((name for name, method in METHODS.items() if _embedded(method, parts.face_model)), FALLBACK)
    if parts.refine is not None and not METHODS[name].refines:
        name = FALLBACK  # whose refusal says what is wrong
    try:
        return _load(name, parts)
    except ReconstructionError as error:
        if not METHODS[name].for_any:
            raise
        _log.warning("%s: the fit goes without what the open head's network sees: %s", parts.face_model.name, error)
        return _load(FALLBACK, parts)


def _embedded(method: Method, model: FaceModel) -> str | None:
    """Weights in the package by which a method serves a face model; None: there are none."""
    own = method.embedded.get(model.name)
    return own or (method.for_any if method.for_any and model.annotations.ibug68 is not None else None)


def _method_of(weights: str | os.PathLike[str], model: FaceModel) -> str:
    """The method that reads weights; of several the one for weights of the face model, or for those of another."""
    card = describe_weights(weights)
    kind, about = card.get("kind"), str(card.get("face_model") or "")
    named = [name for name, method in METHODS.items() if method.kind is not None and method.kind == kind]
    if not named:
        known = ", ".join(sorted({method.kind for method in METHODS.values() if method.kind is not None}))
        raise WeightsError(
            f"{os.fspath(weights)}: expected weights of a kind that a method reads ({known}), received kind {kind!r}; "
            "was it made by a newer version?"
        )
    foreign = about == GUIDE and not model.takes_coefficients_of(about)
    return next((name for name in named if bool(METHODS[name].for_any) == foreign), named[0])


def _weights_for(name: str, method: Method, parts: MethodParts) -> str | os.PathLike[str] | None:
    if method.kind is None:
        if parts.weights is not None:
            raise SettingsError(
                f"expected no weights with method {name!r}, which has no network, received "
                f"{os.fspath(parts.weights)!r}; leave out one of them"
            )
        return None
    if parts.weights is None:
        embedded = method.for_any or method.embedded.get(parts.face_model.name)
        if not embedded:
            raise AssetNotFoundError(
                f"method {name!r} expects weights for face model {parts.face_model.name!r}, received none: pass "
                "--weights F.safetensors (facewright weights import makes one from the official checkpoints), or use "
                "--method fit"
            )
        return embedded
    found = _method_of(parts.weights, parts.face_model)
    if METHODS[found].kind != method.kind:
        raise WeightsError(
            f"{os.fspath(parts.weights)} holds weights for method {found!r}, and {name!r} is asked "
            "for; leave out --method, or name other weights"
        )
    return parts.weights
