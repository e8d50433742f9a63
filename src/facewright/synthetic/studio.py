"""What all scenes share: the head model and what was measured on it once."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.errors import FaceModelError
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.synthetic.beards import HairyRig
from facewright.synthetic.hair import HairRig
from facewright.synthetic.props import MaskRig
from facewright.synthetic.skin import SkinRig

NEEDED_REGIONS = ("face", "skin", "eyes", "lips", "scalp", "brows", "ears", "mouth_inside", "neck")


@dataclass(frozen=True)
class Studio:
    """A face model ready to be photographed.

    Attributes:
        model: on the CPU, with linear albedo, iBUG-68 and named regions; the open head has all.

    Raises:
        FaceModelError: the model lacks what the pictures and their truth need.
    """

    model: FaceModel

    def __post_init__(self) -> None:
        notes = self.model.annotations
        missing = [name for name in NEEDED_REGIONS if name not in notes.regions]
        if notes.ibug68 is None or missing or self.model.albedo_space != "linear" or "head" not in notes.face_parts:
            raise FaceModelError(
                f"expected a face model with linear albedo, iBUG-68, a part 'head' and the regions {NEEDED_REGIONS}; "
                f"{self.model.name!r} lacks {missing or 'some of them'}: use the embedded model 'open'"
            )

    @cached_property
    def ibug68(self) -> Int[Tensor, "68"]:
        """Vertex ids of the landmarks."""
        ids = self.model.annotations.ibug68
        return torch.zeros(68, dtype=torch.long) if ids is None else ids

    @cached_property
    def face_vertices(self) -> Int[Tensor, " N"]:
        """Vertices of the region that shape errors are measured on."""
        return (self.region("face") > 0.5).nonzero()[:, 0]

    @cached_property
    def ear_top(self) -> int:
        """The highest vertex of the left ear, where glasses rest."""
        ears = self.region("ears") * (self.model.mean_shape[:, 0] > 0)
        return int((self.model.mean_shape[:, 1] - 10.0 * (ears < 0.5)).argmax())

    @cached_property
    def hair(self) -> HairRig:
        """The outline that hair lies on."""
        head = self.model.faces[self.model.annotations.face_parts["head"]].unique()
        outside = head[self.region("mouth_inside")[head] < 0.5]
        return HairRig.of(self.model.mean_shape.numpy(), outside.numpy())

    @cached_property
    def skin(self) -> SkinRig:
        """What skin is painted by."""
        return SkinRig.of(self.model, self.model.mean_shape[self.ibug68].numpy())

    @cached_property
    def hairy(self) -> HairyRig:
        """Where beards and lashes grow."""
        return HairyRig.of(self.model, self.ibug68.numpy())

    @cached_property
    def mask(self) -> MaskRig:
        """What a face mask covers."""
        return MaskRig.of(self.model, self.ibug68.numpy())

    @cached_property
    def gloss(self) -> Float[Tensor, " V"]:
        """How much the sun is mirrored, relative to skin: wet eyes and lips more, hair less."""
        return 1.0 + 8.0 * self.region("eyes") + 0.8 * self.region("lips") - 0.7 * self.region("scalp")

    @cached_property
    def grain(self) -> Float[Tensor, " V"]:
        """How mottled the surface is: skin and hair, not eyes."""
        return 0.05 * self.region("skin") + 0.2 * self.region("scalp") + 0.15 * self.region("brows")

    @cached_property
    def grain_places(self) -> Float[Tensor, "V 3"]:
        """Where the grain is read: glued to the skin, a cell about half a millimetre wide."""
        return 5.0 * self.model.mean_shape

    @cached_property
    def columns(self) -> Float[ndarray, "V 16"]:
        """What a table of vertices (``staging.COLUMNS``) says of every head: grain, gloss, face."""
        table = np.zeros((len(self.grain), 16), np.float32)
        table[:, 3:8] = torch.cat([self.grain_places, self.grain[:, None], self.gloss[:, None]], 1).numpy()
        table[:, 9] = self.region("face").numpy()
        return table

    def skin_on(self, device: str) -> SkinRig:
        """``skin`` with its fields on a device; copied there once."""
        if torch.device(device).type == "cpu":
            return self.skin
        if device not in self._skins:
            self._skins[device] = self.skin.on(torch.device(device))
        return self._skins[device]

    @cached_property
    def _skins(self) -> dict[str, SkinRig]:
        return {}

    def model_on(self, device: str) -> FaceModel:
        """The model on a device; copied there once."""
        if torch.device(device).type == "cpu":
            return self.model
        if device not in self._copies:
            self._copies[device] = copy.deepcopy(self.model).to(device)
        return self._copies[device]

    @cached_property
    def _copies(self) -> dict[str, FaceModel]:
        return {}

    def region(self, name: str) -> Float[Tensor, " V"]:
        """A soft mask of the model."""
        return self.model.annotations.regions[name]

    def mean_colors(self, tex: Float[Tensor, "B K"], region: str) -> Float[ndarray, "B 3"]:
        """Average albedo over a region, by the people's albedo coefficients."""
        mean, modes = self._region_colors[region]
        return (mean + tex @ modes.T).clamp_min(0.004).double().numpy()

    def hair_colors(self, tex: Float[Tensor, "B K"]) -> Float[ndarray, "B 3"]:
        """The people's own hair: of brows and scalp the darker one (a scalp may be bald)."""
        brows, scalp = (self.mean_colors(tex, region) for region in ("brows", "scalp"))
        return np.where((luminance(scalp) < luminance(brows))[:, None], scalp, brows)

    @cached_property
    def _region_colors(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Average albedo per region: of the mean head, and of its modes."""
        model, colors = self.model, {}
        for name in ("face", "brows", "scalp", "neck"):
            share = self.region(name) / self.region(name).sum()
            colors[name] = share @ model.mean_albedo, torch.einsum("v,vck->ck", share, model.albedo_basis)
        return colors


def open_studio(face_model: str = "open") -> Studio:
    """Load a face model for photographs."""
    return Studio(load_face_model(face_model).requires_grad_(False))


def luminance(colors: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B"]:
    """Of linear sRGB."""
    return np.asarray(colors @ np.array([0.2126, 0.7152, 0.0722]))
