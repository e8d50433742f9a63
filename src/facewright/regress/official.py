"""Vectors of the official Deep3D networks, translated (docs/deep3d.md sections 2.1, 3, 5 and 11, D6).

Nothing but reordering: coefficients, angles and translations mean the same on both sides.

Positions are another matter. The official renderer's axis meets the crop at column and row 111.5 (pixel centres at
integers), as our crop camera's does; the official *landmark* code calls the same point column 112, row 111. So official
landmarks are ours plus (0.5, -0.5) px, at any pose and crop size: ``facewright.align.official`` converts. What remains
cannot be mended from outside. The official networks were trained with landmarks by one rule and pixels by the other, so
their pose lies between the two, at most half a pixel from either; and their labels were mapped into the crop without
its truncated offset, which moved them by up to one pixel, differently in each photo.
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
