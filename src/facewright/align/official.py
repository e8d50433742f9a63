"""Points and crop parameters as the official Deep3D repositories write them (docs/deep3d.md sections 4, 9, 11).

Official crop points have y **up**. Two half-pixel rules live side by side there. The *landmark* rule names pixels by
index: point (u, v) lies on column u, row 223 - v. The *renderer* rule puts the camera's axis, (112, 112), half-way
between two pixels: the same point is drawn at column u - 0.5, row 223.5 - v. This project renders and projects by the
second; the first is kept here for those who compare numbers.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.files import written_whole
from facewright.geometry.frames import apply_homogeneous

_LARGEST = 1e6
"""No photo's side, place or scale comes near, in pixels."""

HalfPixelRule = Literal["landmark", "renderer"]


def official_points_from_pixels(
    pixels: Float[Tensor, "*N 2"], *, size: int = 224, rule: HalfPixelRule = "renderer"
) -> Float[Tensor, "*N 2"]:
    """Crop pixels (y down, centres at integers) to official crop points (y up)."""
    x, y = pixels.unbind(-1)
    half = 0.5 if rule == "renderer" else 0.0
    return torch.stack([x + half, size - 1 + half - y], -1)


def pixels_from_official_points(
    points_up: Float[Tensor, "*N 2"], *, size: int = 224, rule: HalfPixelRule = "renderer"
) -> Float[Tensor, "*N 2"]:
    """Official crop points (y up) to crop pixels (y down, centres at integers)."""
    u, v_up = points_up.unbind(-1)
    half = 0.5 if rule == "renderer" else 0.0
    return torch.stack([u - half, size - 1 + half - v_up], -1)


def official_crop_points(
    points_photo: Float[Tensor, "*N 2"], trans_params: Float[Tensor, "5"], *, size: int = 224
) -> Float[Tensor, "*N 2"]:
    """Photo points (y down) to official crop points (y up): the labels that the official networks were trained with.

    Neither the truncated size and offset nor the half pixel of resampling is in this formula; it differs from the
    picture's own map (``AlignedFace.T_photo_crop``) by up to about one pixel.
    """
    width, height, s, tx, ty = trans_params.tolist()
    w, h = int(width * s), int(height * s)
    x, y = points_photo.unbind(-1)
    y_up = height - 1 - y
    return torch.stack(
        [(x - tx + width / 2) * s - (w / 2 - size / 2), (y_up - ty + height / 2) * s - (h / 2 - size / 2)], -1
    )


def official_back_mapping(
    points_crop_up: Float[Tensor, "*N 2"], trans_params: Float[Tensor, "5"], *, size: int = 224
) -> Float[Tensor, "*N 2"]:
    """Official crop points (y up) to photo points (y down): the inverse of ``official_crop_points``."""
    width, height, s, tx, ty = trans_params.tolist()
    w, h = int(width * s), int(height * s)
    u, v_up = points_crop_up.unbind(-1)
    x = (u + w / 2 - size / 2) / s + tx - width / 2
    y_up = (v_up + h / 2 - size / 2) / s + ty - height / 2
    return torch.stack([x, height - 1 - y_up], -1)


def write_points(path: str | os.PathLike[str], points: Float[Tensor, "N 2"]) -> None:
    """Write points as the official ``detections`` folders hold them: one a line, tab between x and y, photo pixels.

    Raises:
        ExportError: the file cannot be written.
    """
    lines = [f"{x:.3f}\t{y:.3f}\n" for x, y in points.tolist()]
    with written_whole(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def trans_params_from_mat(contents: Mapping[str, Any]) -> Float[Tensor, "5"]:
    """Crop parameters W, H, s, tx, ty out of a loaded official .mat file; nested one-element arrays are unpacked.

    Raises:
        ReconstructionError: there are none, or they are not five finite numbers.
    """
    try:
        values = [float(np.asarray(entry).item()) for entry in np.asarray(contents["trans_params"], object).ravel()]
    except KeyError as error:
        raise ReconstructionError(
            "expected the key 'trans_params', which the official PyTorch test script does not write; "
            "align the photo from its five points instead"
        ) from error
    except (TypeError, ValueError) as error:
        raise ReconstructionError(f"expected five numbers under 'trans_params', received {error}") from error
    params = torch.tensor(values, dtype=torch.float64)
    if len(values) != 5 or not bool((params.abs() < _LARGEST).all()) or bool((params[:3] <= 0).any()):
        raise ReconstructionError(f"expected W, H, s > 0, tx, ty under 'trans_params', received {values}")
    return params


def photo_points_from_mat(contents: Mapping[str, Any]) -> Float[Tensor, "N 2"]:
    """Landmarks of a loaded official .mat file in photo pixels (y down): 68 if there are, else the five points.

    Of the official spellings, ``lm68`` and ``lm_5p`` have y down in the crop (row = 223 - y), ``lm_68p`` has y up.
    Files of this project that hold a turned crop say so by its map, ``T_photo_crop``.

    Raises:
        ReconstructionError: no landmarks or no crop parameters.
    """
    params = trans_params_from_mat(contents)
    if "T_photo_crop" in contents and "lm_68p" in contents:
        T_photo_crop = torch.from_numpy(np.array(contents["T_photo_crop"], dtype=np.float64).reshape(3, 3))
        up = torch.from_numpy(np.array(contents["lm_68p"], dtype=np.float64).reshape(-1, 2))
        return apply_homogeneous(T_photo_crop, pixels_from_official_points(up))
    for key, is_up in (("lm68", False), ("lm_68p", True), ("lm_5p", False)):
        if key in contents:
            points = torch.from_numpy(np.array(contents[key], dtype=np.float64).reshape(-1, 2))
            up = points if is_up else official_points_from_pixels(points, rule="landmark")
            return official_back_mapping(up, params)
    raise ReconstructionError(f"expected landmarks under lm68, lm_68p or lm_5p, received keys {sorted(contents)}")
