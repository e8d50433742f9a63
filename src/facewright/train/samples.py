"""What training data is: one sample as it is stored, many as a network sees them. Real or synthetic, the same."""

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.records import CoefficientLayout, FaceCoefficients, TensorRecord

STORED_CROP_SIZE = 128
"""Side of the Deep3D crop at which pictures are stored by default; points and windows are in its pixels."""
MARGIN_SHARE = 0.125
"""What a stored window shows beyond the crop on each side, as a share of the crop's side: room for jitter."""


@dataclass(frozen=True)
class TrainingSample:
    """One face, stored with a margin around its crop.

    Points are in pixels of the crop (x right, y down, centres at integers; 0, 0 is the centre of the crop's first
    pixel), of which the window shows ``margin`` pixels more on each side.

    Attributes:
        key: where it comes from: a file's name and the face's number in it, or a scene's seed.
        window_srgb: sRGB-coded bytes; outside of the photo black.
        skin: skin attention of the window, 0..255; zeros where unknown.
        margin: of the window, px.
        landmarks: iBUG-68 (3D definition: hidden points where they would be).
        landmark_weights: 0 (unknown) .. 1.
        points: the detector's 468.
        point_weights: 0 (unknown) .. 1.
        truth: packed coefficients, posed before the crop's own camera; None for photographs.
        person: number of who it is; samples with the same number show the same person. None where unknown.
        parts: shares, 0..255, of ``records.PARTS`` in the window's pixels; zeros where unknown, None where all are.
    """

    key: str
    window_srgb: UInt8[ndarray, "W W 3"]
    skin: UInt8[ndarray, "W W"]
    margin: int
    landmarks: Float[ndarray, "68 2"]
    landmark_weights: Float[ndarray, "68"]
    points: Float[ndarray, "468 2"]
    point_weights: Float[ndarray, "468"]
    truth: Float[ndarray, " K"] | None = None
    person: int | None = None
    parts: UInt8[ndarray, "W W 4"] | None = None

    @property
    def crop_size(self) -> int:
        """Side of the crop inside the window, px."""
        return len(self.window_srgb) - 2 * self.margin


@dataclass(frozen=True)
class DataCard:
    """What a set of stored samples is; samples of one set share all of it.

    Attributes:
        kind: ``photographs`` or ``synthetic``.
        crop_size: side of the crops, px.
        margin: of the windows, px.
        template: landmark template and scale of the crops.
        face_model: name of the model that the truth belongs to; empty without truth.
        face_model_edition: of its coefficients; data that do not say are of the first.
        layout: of the truth; None without.
        source: what it was made from, for weight cards.
        parts: whether samples say what their pixels show.
    """

    kind: str
    crop_size: int = STORED_CROP_SIZE
    margin: int = round(STORED_CROP_SIZE * MARGIN_SHARE)
    template: str = "deep3d-five-102"
    face_model: str = ""
    face_model_edition: int = 1
    layout: CoefficientLayout | None = None
    source: str = ""
    parts: bool = False


@dataclass(frozen=True)
class TrainingBatch(TensorRecord):
    """Crops and what is known about them.

    Attributes:
        crops: sRGB-coded, 0..1; as bytes, 0..255, on their way to a device.
        skin: skin attention, 0..1; 0 where unknown; as bytes like the crops.
        landmarks: iBUG-68, crop pixels.
        landmark_weights: 0 (unknown) .. 1.
        points: the detector's 468, crop pixels.
        point_weights: 0 (unknown) .. 1.
        truth: coefficients; zeros where unknown. ``translation`` is of the un-jittered crop: learn it from the points.
        truth_known: whether there is any truth.
        keys: of the samples.
        persons: number of who each is; -1 where unknown. None: all unknown.
        parts: shares of ``records.PARTS``, 0..1; 0 where unknown; as bytes like the crops. None: all unknown.
    """

    crops: Float[Tensor, "B 3 S S"] | UInt8[Tensor, "B 3 S S"]
    skin: Float[Tensor, "B S S"] | UInt8[Tensor, "B S S"]
    landmarks: Float[Tensor, "B 68 2"]
    landmark_weights: Float[Tensor, "B 68"]
    points: Float[Tensor, "B 468 2"]
    point_weights: Float[Tensor, "B 468"]
    truth: FaceCoefficients
    truth_known: Bool[Tensor, " B"]
    keys: list[str] = field(default_factory=list)
    persons: Int[Tensor, " B"] | None = None
    parts: Float[Tensor, "B 4 S S"] | UInt8[Tensor, "B 4 S S"] | None = None

    def __len__(self) -> int:
        """Number of faces."""
        return len(self.crops)

    def to(self, target: torch.device | torch.dtype | str) -> "TrainingBatch":
        """Move and cast as every record; bytes travel as they are and become 0..1 where they arrive."""
        first = self.in_shares() if isinstance(target, torch.dtype) else self
        return cast("TrainingBatch", super(TrainingBatch, first).to(target)).in_shares()

    def in_shares(self) -> "TrainingBatch":
        """The same with pictures as numbers in 0..1."""
        if self.crops.is_floating_point():
            return self
        crops, skin = (levels.float().mul_(1.0 / 255.0) for levels in (self.crops, self.skin))
        parts = None if self.parts is None else self.parts.float().mul_(1.0 / 255.0)
        return replace(self, crops=crops, skin=skin, parts=parts)


def empty_points(count: int) -> tuple[Float[ndarray, "N 2"], Float[ndarray, " N"]]:
    """Points that are not known, with their weights."""
    return np.zeros((count, 2), np.float32), np.zeros(count, np.float32)
