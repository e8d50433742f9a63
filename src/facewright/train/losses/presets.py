"""How the terms are weighed: the paper, its two programs (docs/deep3d.md, section 6.1), and ours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.bounds import Use, bounded, only

TERMS = ("photometric", "landmark", "perceptual", "coefficient", "flattening", "gamma", "box")
PresetName = Literal["paper", "deng-tf", "deng-pytorch", "open"]


def weighed(*terms: str) -> Use:
    """What has a use where one of these terms weighs something."""
    words = " or ".join(f"--{term}" for term in terms)
    return Use(f"with {words} above 0", lambda options: any(options[term] > 0 for term in terms))


_REGULARISED, _DRAWN = weighed("coefficient"), weighed("photometric", "perceptual")
_COLOURED = weighed("photometric")


@dataclass(frozen=True)
class LossPreset:
    """Weights and readings of the loss terms.

    Attributes:
        photometric: weight of ``photometric_loss``.
        landmark: weight of ``landmark_loss``, for square pixels of a 224-px crop.
        perceptual: weight of ``perceptual_loss``.
        coefficient: weight of ``coefficient_loss``.
        flattening: weight of ``flattening_loss``.
        gamma: weight of ``gamma_loss``.
        id_weight: inside ``coefficient_loss``.
        exp_weight: inside ``coefficient_loss``.
        tex_weight: inside ``coefficient_loss``.
        thresholded_skin: skin attention is 1 above a posterior of one half, else the posterior; False: the posterior.
        pooled_photometric: one mean over the pixels of a batch; False: the mean of the photos' means.
        photometric_rounding: colour distance, 0..1, below which the norm is rounded off.
        box: weight of ``box_loss``, for face models whose expressions are blendshape weights.
        antialiased: silhouettes are blended, which gives them a gradient; False: a pixel is drawn or not, as published.
        offset_landmarks: predicted landmarks, and the chips that they cut, lie half a pixel right of and above the
            drawn face, as in both programs of Deng et al. (docs/deep3d.md section 5); False: on it.
        whole_crop: the recognition network sees the whole crop, as in the TensorFlow program; False: the face cut out.
        released_region: the photometric term looks where the released PyTorch program does, on the face model of that
            program (its triangles are numbered wrongly, which leaves out the chin: docs/deep3d.md section 11, D1);
            False: at the face model's own region.
    """

    photometric: float
    landmark: float
    perceptual: float
    coefficient: float
    flattening: float
    gamma: float
    id_weight: float = bounded(use=_REGULARISED)
    exp_weight: float = bounded(use=_REGULARISED)
    tex_weight: float = bounded(use=_REGULARISED)
    thresholded_skin: bool = only(_COLOURED)
    pooled_photometric: bool = only(_COLOURED)
    photometric_rounding: float = bounded(use=_COLOURED)
    box: float = 0.0
    antialiased: bool = only(_DRAWN, True)
    offset_landmarks: bool = only(weighed("landmark", "perceptual"), False)
    whole_crop: bool = only(weighed("perceptual"), False)
    released_region: bool = only(_COLOURED, False)

    def total(self, terms: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """The weighted sum of the terms; one of weight 0 need not be given.

        Args:
            terms: by the names in ``TERMS``, each the mean over the batch.

        Raises:
            ValueError: a term that this preset weighs is not given.
        """
        used = {term: getattr(self, term) for term in TERMS if getattr(self, term) > 0}
        if missing := sorted(used.keys() - terms.keys()):
            raise ValueError(
                f"expected all terms that the preset weighs, received none for {', '.join(missing)}; "
                "compute them, or set their weights to 0 with dataclasses.replace"
            )
        return torch.stack([weight * terms[term] for term, weight in used.items()]).sum()


_PAPER = LossPreset(
    photometric=1.9,
    landmark=1.6e-3,
    perceptual=0.2,
    coefficient=3e-4,
    id_weight=1.0,
    exp_weight=0.8,
    tex_weight=1.7e-3,
    flattening=5.0,
    gamma=0.0,
    thresholded_skin=True,
    pooled_photometric=False,
    photometric_rounding=0.0,
    antialiased=False,
)
_DENG_TF = LossPreset(
    photometric=1.92,
    landmark=1.6e-3,
    perceptual=0.2,
    coefficient=3e-4,
    id_weight=1.0,
    exp_weight=0.8,
    tex_weight=1.7e-2,
    flattening=5.0,
    gamma=10.0,
    thresholded_skin=False,
    pooled_photometric=True,
    photometric_rounding=0.0,
    antialiased=False,
    offset_landmarks=True,
    whole_crop=True,
)
_DENG_PYTORCH = replace(_DENG_TF, photometric_rounding=1e-3, whole_crop=False, released_region=True)
# A start for the open head, not yet the outcome of experiments. Its albedo has no shading baked in, so nothing is
# flattened; in exchange its albedo modes get the same prior as the identity modes.
_OPEN = LossPreset(
    photometric=1.92,
    landmark=1.6e-3,
    perceptual=0.2,
    coefficient=3e-4,
    id_weight=1.0,
    exp_weight=0.8,
    tex_weight=1.0,
    flattening=0.0,
    gamma=10.0,
    thresholded_skin=True,
    pooled_photometric=False,
    photometric_rounding=0.0,
    box=1.0,
)
PRESETS: Mapping[PresetName, LossPreset] = {
    "paper": _PAPER,
    "deng-tf": _DENG_TF,
    "deng-pytorch": _DENG_PYTORCH,
    "open": _OPEN,
}
