"""Texture coordinates of other models."""

import numpy as np
from jaxtyping import Float, Int


def shared_corners(corner_uv: Float[np.ndarray, "F 3 2"]) -> tuple[Float[np.ndarray, "T 2"], Int[np.ndarray, "F 3"]]:
    """Coordinates given per face corner as a list without repetitions and ids into it."""
    uv, ids = np.unique(corner_uv.reshape(-1, 2), axis=0, return_inverse=True)
    return uv, ids.reshape(-1, 3)


def used_only(
    uv: Float[np.ndarray, "T 2"], faces_uv: Int[np.ndarray, "F 3"]
) -> tuple[Float[np.ndarray, "N 2"], Int[np.ndarray, "F 3"]]:
    """Without the coordinates that no face uses."""
    used, ids = np.unique(faces_uv, return_inverse=True)
    return uv[used], ids.reshape(-1, 3)


def in_unit_square(uv: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, "T 2"]:
    """UDIM tiles (u in 0..n, v in 0..m) shrunk together into 0..1; unchanged if they are inside already."""
    tiles = max(1.0, float(np.ceil(uv.max() - 1e-6)))
    return np.clip(uv / tiles, 0.0, 1.0)
