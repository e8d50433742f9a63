"""Coefficient files of the talking-head family: SadTalker, video-retalking, StyleHEAT (docs/deep3d.md section 12)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ExportError
from facewright.records import CoefficientLayout, FaceCoefficients

TALKING_HEAD_LAYOUT = CoefficientLayout(id=80, exp=64, tex=80)


def talking_head_mat(
    coefficients: FaceCoefficients, trans_params: Float[Tensor, "B 5"]
) -> dict[str, Float[np.ndarray, "B K"]]:
    """``coeff_3dmm`` (T, 73) and ``full_3dmm`` (T, 257) of T frames, for ``write_mat``.

    A row of ``coeff_3dmm`` is expression (64), angles (3), translation (3) and the crop's s, tx, ty.

    Args:
        coefficients: one row per video frame, of the Basel face model.
        trans_params: W, H, s, tx, ty of each frame's alignment, as the official repositories store them.

    Raises:
        ExportError: the coefficients are not of the 80/64/80 layout that these programs were trained with.
    """
    c = coefficients
    layout = CoefficientLayout(c.id.shape[1], c.exp.shape[1], c.tex.shape[1])
    if layout != TALKING_HEAD_LAYOUT:
        raise ExportError(
            f"talking-head programs expect {TALKING_HEAD_LAYOUT} of the Basel face model, received {layout}; "
            "reconstruct with --face-model bfm"
        )
    short = torch.cat([c.exp, c.angles, c.translation, trans_params[:, 2:].to(c.exp)], 1)
    return {
        "coeff_3dmm": short.detach().cpu().float().numpy(),
        "full_3dmm": layout.pack(c).detach().cpu().float().numpy(),
    }
