"""The 52 ARKit expressions as bounded modes, carried over from the source's head to the calibrated one."""

import numpy as np
from open_head.eyes import fit_sphere
from open_head.regions import rings_from_eyeball
from open_head.rings import loop_vertices, upper_and_lower
from open_head.source import FACE_UNITS, AnnyWheel
from open_head.topology import HeadTopology
from open_head.warp import SpaceWarp, warped

LID_EDGE = 13353
"""A vertex of `base.obj` on the visible edge of the left lids."""
LID_OVERLAP = 0.018
"""dm by which shut lids overlap on the mean head, since the same mode must shut wider eyes (two deviations wider)."""
LID_CLEARANCE = 0.004
"""dm, least distance of moving lids from the mean head's eyeball; other people's is less by up to 0.003."""
SLIDING_CLEARANCE, MOVED = 0.010, 1e-4
"""dm by which lids that a smile or a squint moves stay before the mean head's eyeball; and what counts as moved."""
LID_IN_FRONT = 0.006
"""dm by which the upper lid's edge comes forward when shut, so that it lies on the lower lid and not in it."""
FACTOR_STIFFNESS = 0.02
"""Weight of the bend of a blink's factor along the eye against the lids' meeting."""


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
    left, lid_rings = names.index("eyeBlinkLeft"), rings_from_eyeball(topology)
    edge = loop_vertices(topology, LID_EDGE)
    ball = fit_sphere(rested[topology.vertex_mask("left_eye")])
    basis[:, :, left] = shutting(rested, basis[:, :, left], edge, lid_rings, ball)
    right = names.index("eyeBlinkRight")
    basis[:, :, right] = basis[topology.mirror, :, left] * [-1.0, 1.0, 1.0]
    others = np.setdiff1d(np.arange(len(names)), (left, right))
    flip = np.array([-1.0, 1.0, 1.0])
    for mode in others:
        here = sliding(rested, basis[:, :, left], basis[:, :, mode], lid_rings, ball)
        mirrored = sliding(rested, basis[:, :, left], here[topology.mirror] * flip, lid_rings, ball)
        basis[:, :, mode] = mirrored[topology.mirror] * flip
    return basis, names


def sliding(
    head: np.ndarray, blink: np.ndarray, mode: np.ndarray, rings: np.ndarray, ball: tuple[np.ndarray, float]
) -> np.ndarray:
    """(V, 3) an expression that takes the left lids, open or shut, over the eyeball where it would take them into it.

    Args:
        head: (V, 3) resting mean head, dm.
        blink: (V, 3) offsets that shut the left lids.
        mode: (V, 3) offsets of the expression.
        rings: (V,) edges between a vertex and the inside of the lids.
        ball: centre and radius of the left eyeball, dm.
    """
    lid = np.flatnonzero((head[:, 0] > 0.0) & (rings >= 3) & (rings <= 8) & (np.abs(mode).max(1) > MOVED))
    centre, radius = ball
    slid = mode.copy()
    for shut in (0.0, 1.0):
        outward = head[lid] + shut * blink[lid] + slid[lid] - centre
        away = np.linalg.norm(outward, axis=1)
        slid[lid] += np.maximum(SLIDING_CLEARANCE + radius - away, 0.0)[:, None] * outward / away[:, None]
    return slid


def shutting(
    head: np.ndarray, blink: np.ndarray, edge: np.ndarray, rings: np.ndarray, ball: tuple[np.ndarray, float]
) -> np.ndarray:
    """(V, 3) a blink of the left eye with which this head's lids meet, and slide over the eyeball, not through it.

    Args:
        head: (V, 3) resting mean head, dm.
        blink: (V, 3) the source's blink, which shuts other eyes than this head's.
        edge: loop of the lids' visible edges.
        rings: (V,) edges between a vertex and the inside of the lids.
        ball: centre and radius of the eyeball, dm.
    """
    upper, lower = upper_and_lower(edge, head)
    x = head[upper, 0]
    below = [np.interp(x, head[lower, 0], values[lower, 1]) for values in (head, blink)]
    opening, closing = head[upper, 1] - below[0], below[1] - blink[upper, 1]
    place = (x - 0.5 * (x[0] + x[-1])) / (0.5 * (x[-1] - x[0]))
    wanted = opening + LID_OVERLAP * (1.0 - place**4)
    bend = np.diff(np.eye(len(x)), 2, axis=0) * FACTOR_STIFFNESS
    factors = np.linalg.lstsq(np.r_[np.diag(closing), bend], np.r_[wanted, np.zeros(len(bend))], rcond=None)[0]
    shut = blink * np.interp(head[:, 0], x, np.clip(factors, 0.0, 2.0))[:, None]
    lid = np.flatnonzero((head[:, 0] > 0.0) & (rings >= 2) & (rings <= 8))
    centre, radius = ball
    share = np.linalg.norm(shut[lid], axis=1)
    share = np.minimum(share / np.maximum(share.max(), 1e-9) * 2.0, 1.0)
    lift = np.zeros(len(lid))
    for weight in (0.5, 0.75, 1.0):
        away = np.linalg.norm(head[lid] + weight * shut[lid] - centre, axis=1) - radius
        lift = np.maximum(lift, (LID_CLEARANCE - away) / weight)
    upper_lid = head[lid, 1] > np.interp(head[lid, 0], x, 0.5 * (head[upper, 1] + below[0]))
    lift += LID_IN_FRONT * upper_lid * np.interp(rings[lid], [4.0, 8.0], [1.0, 0.0])
    outward = head[lid] + shut[lid] - centre
    shut[lid] += (share * lift)[:, None] * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    return shut
