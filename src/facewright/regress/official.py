"""The conventions of the official Deep3D releases, translated (deep3d.md 2.1, 3, 5, 11 D6, D8).

Nothing but reordering, signs and half pixels: coefficients, angles and translations mean the same on both sides.

The half pixel: the official renderer's axis meets the crop at column and row 111.5 (pixel centres at integers), as our
crop camera's does. The official *landmark* code calls the same point column 112 and row 111 (``u = 1015 x / z + 112``,
``row = 223 - v_up``). Official landmarks are therefore ours plus (0.5, -0.5), at any crop size, whatever the pose. What
remains cannot be mended from outside: the official networks were trained with landmarks by one rule and pixels by the
other, so their pose lies somewhere between, at most half a pixel from either; and their labels were mapped into the
crop without its truncated offset, which moves them by up to one pixel (D6), differently in each photo.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.records import CoefficientLayout, FaceCoefficients

OFFICIAL_LAYOUT = CoefficientLayout(id=80, exp=64, tex=80)
"""Of the Basel face model as both releases cut it: vectors of 257."""

OFFICIAL_FACE_MODEL = "bfm2009"
"""What weights for it say they are for; any crop of that model (``bfm2009-...``) fits."""

CoefficientOrder = Literal["id-exp-tex", "id-tex-exp"]
"""Order of the first three parts. ``id-tex-exp`` is DisentangledFaceGAN's; everybody else's is ``id-exp-tex``."""

_LANDMARK_SHIFT_PX = (0.5, -0.5)


def coefficients_from_official(
    vector: Float[Tensor, "B K"],
    *,
    layout: CoefficientLayout = OFFICIAL_LAYOUT,
    order: CoefficientOrder = "id-exp-tex",
) -> FaceCoefficients:
    """Name the parts of an official network vector.

    Args:
        vector: 257 values (for the default layout), or more: some released graphs emit extra ones at the end, which are
            dropped. Or 18 fewer: white light (paper, 239 values), whose 9 numbers are repeated for the three channels.
        layout: numbers of coefficients.
        order: of id, exp and tex in the vector.

    Raises:
        ValueError: too few values for the layout.
    """
    if vector.shape[-1] == layout.size - 18:
        vector = torch.cat([vector[:, :-12], vector[:, -12:-3].repeat(1, 3), vector[:, -3:]], -1)
    if vector.shape[-1] < layout.size:
        raise ValueError(
            f"expected official vectors of {layout.size} values or more, or {layout.size - 18} (white light), "
            f"received {tuple(vector.shape)}; name the layout that they were made with"
        )
    vector = vector[:, : layout.size]
    if order == "id-tex-exp":
        id_part, tex, exp, rest = vector.split([layout.id, layout.tex, layout.exp, 33], -1)
        vector = torch.cat([id_part, exp, tex, rest], -1)
    return layout.unpack(vector)


def official_from_coefficients(
    coefficients: FaceCoefficients, *, order: CoefficientOrder = "id-exp-tex"
) -> Float[Tensor, "B K"]:
    """Inverse of ``coefficients_from_official``: id, exp, tex, angles, gamma (red's 9 first), translation."""
    c = coefficients
    first = [c.id, c.exp, c.tex] if order == "id-exp-tex" else [c.id, c.tex, c.exp]
    return torch.cat([*first, c.angles, c.sh.transpose(-1, -2).flatten(-2), c.translation], -1)


def official_landmarks(
    landmarks_crop: Float[Tensor, "*B L 2"], *, crop_size: int = 224, rows: Literal["down", "up"] = "down"
) -> Float[Tensor, "*B L 2"]:
    """Landmarks as official files hold them, from ours.

    Args:
        landmarks_crop: crop pixels, x right, y down, centres at integers.
        crop_size: side of the crop, px.
        rows: ``down`` for ``lm68`` of the PyTorch ``.mat``; ``up`` for training labels, ``lm/*.txt`` and ``lm_68p`` of
            the TensorFlow release: v_up = crop_size - 1 - row.
    """
    shifted = landmarks_crop + landmarks_crop.new_tensor(_LANDMARK_SHIFT_PX)
    return _flip_rows(shifted, crop_size) if rows == "up" else shifted


def landmarks_from_official(
    landmarks_official: Float[Tensor, "*B L 2"], *, crop_size: int = 224, rows: Literal["down", "up"] = "down"
) -> Float[Tensor, "*B L 2"]:
    """Inverse of ``official_landmarks``."""
    down = _flip_rows(landmarks_official, crop_size) if rows == "up" else landmarks_official
    return down - landmarks_official.new_tensor(_LANDMARK_SHIFT_PX)


def _flip_rows(points: Float[Tensor, "*B L 2"], crop_size: int) -> Float[Tensor, "*B L 2"]:
    return torch.stack([points[..., 0], crop_size - 1 - points[..., 1]], -1)
