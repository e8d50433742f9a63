"""Which vertices of a scan count: the crops of the protocols, as masks. numpy, mm.

The seven points are those of ``ibug68.SEVEN_OF_68``: outer and inner corner of the subject's right eye, inner and outer
corner of the left, nose bottom, right and left mouth corner.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from facewright.evaluate.surfaces import Surface

MICC_RADIUS_MM = 95.0
NOW_RADIUS_FACTOR, FG2018_RADIUS_FACTOR = 1.4, 1.2


def within_radius(
    vertices_mm: Float[ndarray, "V 3"], centre_mm: Float[ndarray, "3"], radius_mm: float = MICC_RADIUS_MM
) -> Bool[ndarray, " V"]:
    """Vertices at most so far from a point; MICC: 95 mm from the nose tip (Tran et al. 2017)."""
    return np.linalg.norm(vertices_mm - centre_mm, axis=-1) <= radius_mm


def now_region(
    vertices_mm: Float[ndarray, "V 3"], seven_mm: Float[ndarray, "7 3"], *, factor: float = NOW_RADIUS_FACTOR
) -> Bool[ndarray, " V"]:
    """NoW's face region of a scan (Sanyal et al. 2019, and their program).

    Args:
        vertices_mm: of the scan.
        seven_mm: its seven points.
        factor: 1.4; 1.2 for FG2018 and the first version of NoW.
    """
    bridge, bottom = (seven_mm[1] + seven_mm[2]) / 2.0, seven_mm[4]
    centre = bottom + 0.3 * (bridge - bottom)
    radius = factor * (np.linalg.norm(seven_mm[0] - seven_mm[3]) + np.linalg.norm(bridge - bottom)) / 2.0
    return within_radius(vertices_mm, centre, float(radius))


def below_forehead(
    vertices_mm: Float[ndarray, "V 3"], seven_mm: Float[ndarray, "7 3"], *, height: float = 0.6
) -> Bool[ndarray, " V"]:
    """Vertices below a plane over the brows: the "forehead cut away" of Deng 2019.

    The paper gives no line. Here the plane is square to the line from nose bottom to bridge, and lies ``height`` of
    that line's length (about 45 mm) above the bridge: 0.6 is just over the brows.
    """
    bridge, bottom = (seven_mm[1] + seven_mm[2]) / 2.0, seven_mm[4]
    across = seven_mm[3] - seven_mm[0]
    up = bridge - bottom
    length = np.linalg.norm(up)
    up = up - across * (up @ across) / (across @ across)
    up = up / np.linalg.norm(up)
    return (vertices_mm - bridge) @ up <= height * length


def cut_out(surface: Surface, keep: Bool[ndarray, " V"]) -> tuple[Surface, Int[ndarray, " K"]]:
    """The part of a mesh between kept vertices, and the old ids of its vertices (those that hold a face).

    Raises:
        ValueError: no face is left.
    """
    faces = surface.faces[keep[surface.faces].all(1)]
    if not len(faces):
        raise ValueError(
            f"expected faces inside the region, received none ({int(keep.sum())} of {len(keep)} vertices are inside); "
            "check the unit (mm) and the landmarks"
        )
    kept, renumbered = np.unique(faces, return_inverse=True)
    return Surface(surface.vertices_mm[kept], renumbered.reshape(-1, 3)), kept
