"""R-Net: one crop -> all coefficients of a face (Deng et al. 2019, section 3; docs/deep3d.md section 2)."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.inference import Inference
from facewright.records import CoefficientLayout, FaceCoefficients, TensorRecord
from facewright.regress.backbones import BACKBONES, build_backbone
from facewright.regress.cards import Card, Entry, Kind, flag, one_of, width
from facewright.regress.glance import GLANCED, LANDMARKS, Correction, SecondGlance

LEAST_DOUBT = 1e-3
"""Least deviation of a predicted point, as a share of the crop."""
LEAST_COEFFICIENT_DOUBT = 0.02
"""Least deviation of a predicted coefficient."""
NECK = 256
"""Width of the layer between features and the many points: it keeps files small."""
MOST_POINTS = 20_000
LEAST_EXPORTED = 500_000
"""Numbers of a net that is worth exporting for the quicker engine."""
_PER_LANDMARK, _PER_POINT = 3, 5  # x, y, log deviation; depth and its log deviation besides

InputCoding = Literal["rgb_0_1", "bgr_0_255"]
"""How a trunk was taught to see sRGB: as R, G, B in 0..1, or as B, G, R in 0..255 (the TensorFlow release)."""


def head_sizes(layout: CoefficientLayout) -> dict[str, int]:
    """Heads in the order of the packed vector; together they are ``layout.size`` wide."""
    return {"id": layout.id, "exp": layout.exp, "tex": layout.tex, "angles": 3, "sh": 27, "xy": 2, "z": 1}


@dataclass(frozen=True)
class RNetPrediction(TensorRecord):
    """All that an R-Net says about crops.

    Attributes:
        coefficients: of each face.
        points_px: points of the face model in crop pixels, seen directly instead of through its coefficients, hidden
            ones where they would be; the first 68 are iBUG-68 (3D definition). None from a net that sees no points.
        points_sigma_px: the net's own doubt about each: deviation of either coordinate; None likewise.
        depth_px: how much farther from the camera than the head's origin each point is, crop pixels; None from nets
            that see landmarks alone.
        depth_sigma_px: deviation of that; None likewise.
        id_sigma: the net's own doubt about each identity coefficient; None likewise.
        exp_sigma: the same of expression.
        tex_sigma: the same of albedo.
    """

    coefficients: FaceCoefficients
    points_px: Float[Tensor, "B N 2"] | None = None
    points_sigma_px: Float[Tensor, "B N"] | None = None
    depth_px: Float[Tensor, "B N"] | None = None
    depth_sigma_px: Float[Tensor, "B N"] | None = None
    id_sigma: Float[Tensor, "B Kid"] | None = None
    exp_sigma: Float[Tensor, "B Kexp"] | None = None
    tex_sigma: Float[Tensor, "B Ktex"] | None = None

    @property
    def landmarks_px(self) -> Float[Tensor, "B 68 2"] | None:
        """The points that are iBUG-68."""
        return None if self.points_px is None else self.points_px[:, :LANDMARKS]

    @property
    def landmarks_sigma_px(self) -> Float[Tensor, "B 68"] | None:
        """The doubt about them."""
        return None if self.points_sigma_px is None else self.points_sigma_px[:, :LANDMARKS]


class RNet(nn.Module):
    """A trunk and seven linear heads on its pooled features; on request an eighth that sees points of the face.

    A second glance, on request, corrects the answer by the trunk's first maps at the landmarks of that answer.

    The heads start at zero: an untrained R-Net answers with the mean face, looking at the camera.

    Args:
        layout: numbers of coefficients, of the face model that the net is for.
        architecture: name of the trunk (``BACKBONES``).
        width: factor on the trunk's channel counts.
        crop_size: side of the square crops, px.
        input_coding: what the trunk's first layer sees.
        landmark_head: predict iBUG-68 and their uncertainty too.
        points: vertices of the face model to see instead of those alone (dense landmarks: Wood et al. 2022), iBUG-68
            first; with the depth of each, and with the uncertainty of points, depths and coefficients. They are kept
            with the weights: the same numbers are other places on another edition of the head.
        glance: look a second time, at the landmarks; for nets that see ``points``.

    Raises:
        ValueError: an unknown coding, fewer points than landmarks, or a second glance without points.
    """

    point_ids: Int[Tensor, " N"] | None

    def __init__(
        self,
        layout: CoefficientLayout,
        *,
        architecture: str = "resnet50",
        width: float = 1.0,
        crop_size: int = 224,
        input_coding: InputCoding = "rgb_0_1",
        landmark_head: bool = False,
        points: Int[Tensor, " N"] | None = None,
        glance: bool = False,
    ) -> None:
        super().__init__()
        if glance and points is None:
            raise ValueError("expected points for a second glance, received none; it looks where they are")
        if input_coding not in get_args(InputCoding):
            raise ValueError(f"expected an input coding of {get_args(InputCoding)}, received {input_coding!r}")
        if points is not None and len(points) < LANDMARKS:
            raise ValueError(f"expected the {LANDMARKS} landmarks before all other points, received {len(points)}")
        self.layout = layout
        self.architecture = architecture
        self.width = width
        self.crop_size = crop_size
        self.input_coding: InputCoding = input_coding
        self.backbone = build_backbone(architecture, width=width)
        features = self.backbone.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(features, size) for name, size in head_sizes(layout).items()})
        self.landmark_head: nn.Linear | None = None
        self.neck: nn.Linear | None = None
        self.doubt_head: nn.Linear | None = None
        self.register_buffer("point_ids", points)
        if points is not None:
            self.neck = nn.Linear(features, NECK)
            self.landmark_head = nn.Linear(NECK, _PER_POINT * len(points))
            self.doubt_head = nn.Linear(NECK, layout.id + layout.exp + layout.tex)
        elif landmark_head:
            self.landmark_head = nn.Linear(features, _PER_LANDMARK * LANDMARKS)
        for name, parameter in self.named_parameters():
            if not name.startswith(("backbone.", "neck.")):
                nn.init.zeros_(parameter)
        self.glance: SecondGlance | None = None
        if glance and points is not None:
            channels = sum(self._widths()[:GLANCED])
            self.glance = SecondGlance(layout, channels=channels, points=len(points))
        facts = json.dumps(_describe(self), sort_keys=True)
        self._inference = Inference(self, self._answers, side=crop_size, facts=facts, least=LEAST_EXPORTED)

    def features(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C"]:
        """What the heads see.

        Args:
            crops: sRGB-coded, 0..1, aligned as ``align_face`` does.

        Raises:
            ValueError: crops of another size than the net was trained on.
        """
        return self.backbone(self._encoded(crops))

    def shallow_and_pooled(self, crops: Float[Tensor, "B 3 S S"]) -> tuple[Float[Tensor, "B C h w"], Tensor]:
        """Maps of the trunk's first stage, and ``features``: what a C-Net reads; arguments and errors likewise."""
        maps = self.maps(crops)
        return maps[0], self.backbone.pooled(maps[-1])

    def maps(self, crops: Float[Tensor, "B 3 S S"]) -> list[Tensor]:
        """The last map of each stage of the trunk, sharpest first; arguments and errors as ``features``."""
        return self.backbone.stages(self._encoded(crops))

    @torch.no_grad()
    def _widths(self) -> list[int]:
        """Channels of ``maps``, by a look at nothing that leaves the statistics of norms alone."""
        learns = self.backbone.training
        nothing = torch.zeros(1, 3, self.crop_size, self.crop_size)
        widths = [stage.shape[1] for stage in self.backbone.eval().stages(nothing)]
        self.backbone.train(learns)
        return widths

    def _encoded(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        self._require_size(crops)
        return _encode_input(crops, self.input_coding)

    def forward_vector(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B K"]:
        """Packed coefficients, in the published order (``CoefficientLayout``); arguments and errors as ``features``."""
        return self.layout.pack(self(crops))

    def forward(self, crops: Float[Tensor, "B 3 S S"]) -> FaceCoefficients:
        """Coefficients of each crop; arguments and errors as ``features``."""
        return self.predict(crops).coefficients

    def predict(self, crops: Float[Tensor, "B 3 S S"]) -> RNetPrediction:
        """All that the net has heads for; arguments and errors as ``features``."""
        return self.predict_from(self.features(crops)) if self.glance is None else self.predict_by(self.maps(crops))

    def predict_by(self, maps: list[Tensor]) -> RNetPrediction:
        """What ``predict`` says, from ``maps``."""
        first = self.predict_from(self.backbone.pooled(maps[-1]))
        if self.glance is None or first.points_px is None:
            return first
        seen = self.glance.features(maps, first.points_px[:, :LANDMARKS], self.crop_size)
        return corrected(first, self.glance(seen), self.crop_size / 2.0)

    def predict_from(self, features: Float[Tensor, "B C"]) -> RNetPrediction:
        """All that the net has heads for, from ``features``: its first answer, without a second glance."""
        coefficients = self.layout.unpack(self._vector(features))
        if self.landmark_head is None:
            return RNetPrediction(coefficients)
        seen = features if self.neck is None else torch.relu(self.neck(features))
        answers = self.landmark_head(seen).unflatten(-1, (-1, _PER_LANDMARK if self.neck is None else _PER_POINT))
        # In units of half a crop around its middle; the doubt starts at a tenth of a crop and never goes below 0.1 %.
        half = self.crop_size / 2.0
        points = half * answers[..., :2] + (self.crop_size - 1) / 2.0
        sigma = self._doubt_px(answers[..., 2])
        if self.doubt_head is None:
            return RNetPrediction(coefficients, points, sigma)
        doubts = LEAST_COEFFICIENT_DOUBT + torch.exp(self.doubt_head(seen).clamp(-6.0, 3.0))
        id_sigma, exp_sigma, tex_sigma = doubts.split([self.layout.id, self.layout.exp, self.layout.tex], -1)
        depth, depth_sigma = half * answers[..., 3], self._doubt_px(answers[..., 4])
        return RNetPrediction(
            coefficients, points, sigma, depth, depth_sigma, id_sigma=id_sigma, exp_sigma=exp_sigma, tex_sigma=tex_sigma
        )

    def infer(self, crops: Float[Tensor, "B 3 S S"]) -> RNetPrediction:
        """What ``predict`` says, without derivatives, by the quicker engine; arguments and errors alike."""
        self._require_size(crops)
        said = self._inference(crops)
        parts = [entry.name for entry in fields(FaceCoefficients)]
        seen = {name: value for name, value in said.items() if name not in parts}
        return RNetPrediction(FaceCoefficients(**{name: said[name] for name in parts}), **seen)

    def _answers(self, crops: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
        """What ``predict`` says, as tensors by the names of its parts."""
        seen = self.predict(crops)
        named = {entry.name: getattr(seen.coefficients, entry.name) for entry in fields(FaceCoefficients)}
        others = {entry.name: getattr(seen, entry.name) for entry in fields(RNetPrediction)[1:]}
        return named | {name: value for name, value in others.items() if value is not None}

    def _require_size(self, crops: Float[Tensor, "B 3 S S"]) -> None:
        if crops.shape[-1] != self.crop_size:
            raise ValueError(
                f"expected crops of {self.crop_size} px, received {tuple(crops.shape)}; align to the weights' size"
            )

    def _doubt_px(self, answers: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        return self.crop_size * (LEAST_DOUBT + 0.1 * torch.exp(answers.clamp(-6.0, 3.0)))

    def _vector(self, features: Float[Tensor, "B C"]) -> Float[Tensor, "B K"]:
        return torch.cat([head(features) for head in self.heads.values()], dim=-1)


def corrected(first: RNetPrediction, by: Correction, half: float) -> RNetPrediction:
    """A first answer after the second glance.

    Args:
        first: of a net that sees dense points.
        by: what the second glance says.
        half: a crop, px: the unit of corrections of points.

    Raises:
        ValueError: an answer without dense points.
    """
    c = first.coefficients
    return replace(
        first,
        coefficients=replace(
            c,
            id=c.id + by.id,
            exp=c.exp + by.exp,
            angles=c.angles + by.angles,
            translation=c.translation + by.translation,
        ),
        points_px=said(first.points_px) + half * by.points,
        points_sigma_px=said(first.points_sigma_px) * by.points_factor,
        depth_px=said(first.depth_px) + half * by.depth,
        depth_sigma_px=said(first.depth_sigma_px) * by.depth_factor,
        exp_sigma=said(first.exp_sigma) * by.exp_factor,
    )


def said(part: Tensor | None) -> Tensor:
    """A part of an answer that must be there.

    Raises:
        ValueError: it is not.
    """
    if part is None:
        raise ValueError("expected an answer of a net that sees dense points, received one without")
    return part


def _encode_input(srgb: Float[Tensor, "B 3 S S"], coding: InputCoding) -> Float[Tensor, "B 3 S S"]:
    return srgb.flip(1) * 255.0 if coding == "bgr_0_255" else srgb


def _build(card: Card) -> RNet:
    count = card.get("points", 0)
    return RNet(
        CoefficientLayout(**card["layout"]),
        architecture=card["architecture"],
        width=card["width"],
        crop_size=card["crop_size"],
        input_coding=card["input_coding"],
        landmark_head=card.get("landmark_head", False),
        points=torch.zeros(count, dtype=torch.long) if count else None,
        glance=card.get("glance", False),
    )


def _describe(net: RNet) -> dict[str, Any]:
    return {
        "architecture": net.architecture,
        "width": net.width,
        "crop_size": net.crop_size,
        "input_coding": net.input_coding,
        "landmark_head": net.landmark_head is not None,
        "points": 0 if net.point_ids is None else len(net.point_ids),
        "glance": net.glance is not None,
        "layout": asdict(net.layout),
    }


def _answers(net: RNet, crops: Float[Tensor, "B 3 S S"]) -> dict[str, Tensor]:
    seen = net.predict(crops)
    named = {name: getattr(seen.coefficients, name) for name in ("id", "exp", "tex", "angles", "sh", "translation")}
    dense = net.point_ids is not None
    further = {
        "landmarks": seen.landmarks_px,
        "landmark_sigma": seen.landmarks_sigma_px,
        "points": seen.points_px if dense else None,
        "point_sigma": seen.points_sigma_px if dense else None,
        "depth": seen.depth_px,
        "depth_sigma": seen.depth_sigma_px,
        "id_sigma": seen.id_sigma,
        "exp_sigma": seen.exp_sigma,
        "tex_sigma": seen.tex_sigma,
    }
    return named | {name: value for name, value in further.items() if value is not None}


RNET = Kind(
    label="R-Net",
    network=RNet,
    entries={
        "architecture": one_of(BACKBONES),
        "width": width(),
        "input_coding": one_of(get_args(InputCoding)),
        "landmark_head": flag(),
        "points": Entry(
            f"0, or a whole number of {LANDMARKS} to {MOST_POINTS}",
            lambda value: type(value) is int and (value == 0 or LANDMARKS <= value <= MOST_POINTS),
            needed=False,
        ),
        "glance": flag(),
    },
    build=_build,
    describe=_describe,
    answers=_answers,
)
