"""The 52 ARKit expressions as bounded modes, carried over from the source's head to the calibrated one."""

import numpy as np
from open_head.source import FACE_UNITS, AnnyWheel
from open_head.topology import HeadTopology
from open_head.warp import SpaceWarp, warped


def expression_basis(
    wheel: AnnyWheel, topology: HeadTopology, rest: np.ndarray, pose: np.ndarray, warps: list[SpaceWarp]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Offsets at weight one.

    Each is the difference of the warped expressive and the warped resting head: what touches in the source (lids, lips)
    touches here.

    Args:
        wheel: of the source.
        topology: of the head.
        rest: (V, 3) the source-shaped mean head that ``warps`` were made for, dm.
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
    return np.stack(modes, -1), names
