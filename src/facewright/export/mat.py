"""MATLAB files, and the one that the official Deep3D programs write (docs/deep3d.md section 9)."""

import io
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.export.npz import finite_arrays
from facewright.files import Destination, put
from facewright.records import CoefficientLayout, FaceCoefficients

HEADER_TEXT = b"MATLAB 5.0 MAT-file, written by facewright"
HEADER_LENGTH = 116


def write_mat(destination: Destination, content: dict[str, Any]) -> None:
    """Write ``mat_bytes``.

    Raises:
        ExportError: a number is not finite, or the file cannot be written.
    """
    put(destination, mat_bytes(content))


def mat_bytes(content: dict[str, Any]) -> bytes:
    """A compressed MATLAB 5 file; tensors become arrays. Same content, same bytes.

    Raises:
        ExportError: a number is not finite.
    """
    import scipy.io  # here: it takes its time to load, and few want such files

    stream = io.BytesIO()
    scipy.io.savemat(stream, finite_arrays(content), do_compression=True, oned_as="row")
    # scipy puts the time of writing into the free text at the head of the file.
    return HEADER_TEXT.ljust(HEADER_LENGTH) + stream.getvalue()[HEADER_LENGTH:]


def official_mat(
    *,
    coefficients: FaceCoefficients | None,
    vertices_world: Float[Tensor, "V 3"],
    albedo_srgb: Float[Tensor, "V 3"],
    colors_srgb: Float[Tensor, "V 3"],
    landmarks_crop: Float[Tensor, "68 2"],
    five_crop: Float[Tensor, "5 2"],
    crop: Float[Tensor, "3 H W"],
    rendering_srgb: Float[Tensor, "3 H W"],
    mask: Float[Tensor, "1 H W"],
    trans_params: Float[Tensor, "5"],
) -> dict[str, np.ndarray]:
    """What both official programs store for one face, in their frames and ranges (docs/deep3d.md sections 9.1, 9.2).

    TensorFlow names: ``cropped_img`` (H, W, 3) bytes, ``recon_img`` (H, W, 4) 0..255 and alpha 0 or 1, ``coeff``
    (1, K), ``face_shape`` (V, 3) posed, dm, ``face_texture`` and ``face_color`` (V, 3) 0..255, ``lm_68p`` (68, 2)
    **y up**, ``lm_5p`` (5, 2) **y down**. PyTorch names: ``id``, ``exp``, ``tex``, ``angle``, ``gamma``, ``trans``
    (1, n) and ``lm68`` (1, 68, 2) y down. Beside them ``trans_params`` (1, 5), without which nobody finds back to the
    photo.

    The official landmarks lie half a pixel right of and above the rendering (section 5). Ours lie on it; the half
    pixel is added here.

    Args:
        coefficients: of one face; None for a mesh alone: the keys that hold them are left out.
        vertices_world: posed vertices, dm.
        albedo_srgb: unlit vertex colours, display-coded, nominally 0..1.
        colors_srgb: lit vertex colours, display-coded, nominally 0..1.
        landmarks_crop: projected landmarks, crop pixels, y down, centres at integers.
        five_crop: the five points that aligned the crop where the official program maps them, y down.
        crop: the network's input, sRGB 0..1.
        rendering_srgb: the rendered face in the crop, display-coded, nominally 0..1.
        mask: its coverage.
        trans_params: W, H, s, tx, ty of the alignment.
    """
    lm68 = landmarks_crop + landmarks_crop.new_tensor([0.5, -0.5])
    picture = torch.cat([255.0 * rendering_srgb.clamp(0.0, 1.0), (mask > 0.5).to(rendering_srgb)])
    contents = {
        "cropped_img": (crop.clamp(0.0, 1.0) * 255.0).round().permute(1, 2, 0),
        "recon_img": picture.permute(1, 2, 0),
        "face_shape": vertices_world,
        "face_texture": 255.0 * albedo_srgb,
        "face_color": 255.0 * colors_srgb,
        "lm_68p": flip_rows(lm68, crop.shape[1]),
        "lm_5p": five_crop,
        "lm68": lm68[None],
    }
    if coefficients is not None:
        c = coefficients
        contents |= {
            "coeff": CoefficientLayout(c.id.shape[1], c.exp.shape[1], c.tex.shape[1]).pack(c),
            "id": c.id,
            "exp": c.exp,
            "tex": c.tex,
            "angle": c.angles,
            "gamma": c.sh.transpose(1, 2).flatten(1),
            "trans": c.translation,
        }
    arrays = {name: value.detach().cpu().float().numpy() for name, value in contents.items()}
    arrays["cropped_img"] = arrays["cropped_img"].astype(np.uint8)
    arrays["trans_params"] = trans_params.detach().cpu().double().numpy()[None]
    return arrays


def flip_rows(points: Float[Tensor, "N 2"], height: int) -> Float[Tensor, "N 2"]:
    """Rows counted from the top become rows counted from the bottom, and back: y = height - 1 - y."""
    return torch.stack([points[:, 0], height - 1.0 - points[:, 1]], -1)
