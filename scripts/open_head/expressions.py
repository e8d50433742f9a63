"""The 52 ARKit expressions as bounded modes, carried over from the source's head to the calibrated one."""

import numpy as np
from open_head.rings import loop_vertices, upper_and_lower
from open_head.source import FACE_UNITS, AnnyWheel
from open_head.topology import HeadTopology
from open_head.warp import SpaceWarp, warped

LID_EDGE = 13353
"""A vertex of `base.obj` on the visible edge of the left lids."""
LID_OVERLAP = 0.004
"""dm by which shut lids overlap on the mean head, since the modes must also shut wider eyes."""


def expression_basis(
    wheel: AnnyWheel,
    topology: HeadTopology,
    rest: np.ndarray,
    rested: np.ndarray,
    pose: np.ndarray,
    warps: list[SpaceWarp],
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Offsets at weight one.

    Each is the difference of the warped expressive and the warped resting head: what touches in the source (lids, lips)
    touches here.

    Args:
        wheel: of the source.
        topology: of the head.
        rest: (V, 3) the source-shaped mean head that ``warps`` were made for, dm.
        rested: (V, 3) the resting calibrated mean head, dm.
        pose: (3, 3) rotation from the source's frame to that of ``rest``.
        warps: deformations of space, one after the other.

    Returns:
        basis: (V, 3, 52) dm.
        names: ARKit's, alphabetical.
    """
    names = tuple(wheel.listing(FACE_UNITS))
    resting = warped(rest, warps)
    count = topology.follow.shape[1]
    modes = [
        warped(rest + (topology.follow @ wheel.target(FACE_UNITS + name, count)) @ pose.T, warps) - resting
        for name in names
    ]
    basis = np.stack(modes, -1)
    edge = loop_vertices(topology, LID_EDGE)
    for name, loop in (("eyeBlinkLeft", edge), ("eyeBlinkRight", topology.mirror[edge])):
        basis[:, :, names.index(name)] *= blink_strength(rested, basis[:, :, names.index(name)], loop)[:, None]
    return basis, names


def blink_strength(head: np.ndarray, blink: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """(V,) factor of a blink with which this head shuts its eye: quadratic across it, fitted to the edges of the lids.

    Args:
        head: (V, 3) resting mean head, dm.
        blink: (V, 3) the source's blink, which shuts wider eyes than this head's.
        edge: loop of the lids' visible edges.
    """
    upper, lower = upper_and_lower(edge, head)
    x = head[upper, 0]
    below = [np.interp(x, head[lower, 0], values[lower, 1]) for values in (head, blink)]
    opening, closing = head[upper, 1] - below[0], below[1] - blink[upper, 1]
    middle, half = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0])
    place = np.clip((head[:, 0] - middle) / half, -1.0, 1.0)
    powers = place[:, None] ** np.arange(3)
    wanted = opening + LID_OVERLAP * (1.0 - place[upper] ** 2)
    factors = np.linalg.lstsq(powers[upper] * closing[:, None], wanted, rcond=None)[0]
    return np.clip(powers @ factors, 0.0, 1.5)
