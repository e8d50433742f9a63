"""Round eyeballs of one size, and lids that lie on them, whatever the shape targets did to the sockets."""

import numpy as np
from open_head.eyes import fit_sphere
from open_head.rings import loop_vertices
from open_head.topology import HeadTopology

MARGIN = 7747
"""A vertex of `base.obj` on the loop where the left lids touch the eyeball."""
SINK = 0.003
"""dm by which that loop lies inside the eyeball, so that no slit opens between them."""
REACH = 0.07
"""dm over which the skin follows its nearest lid margin."""


def seat_eyelids(topology: HeadTopology, heads: np.ndarray, radius: float) -> np.ndarray:
    """Heads (N, V, 3) with round eyeballs of one size behind the old pupils, looking ahead, and lids laid onto them.

    Args:
        topology: of the heads.
        heads: dm.
        radius: of the eyeballs, dm.
    """
    seated = heads.copy()
    left_margin = loop_vertices(topology, MARGIN)
    mean = heads.mean(0)
    for part, margin in (("left_eye", left_margin), ("right_eye", topology.mirror[left_margin])):
        ball = np.flatnonzero(topology.vertex_mask(part))
        centre = heads[:, ball[topology.eye_angle[ball] == 0.0][0]] - np.array([0.0, 0.0, radius], heads.dtype)
        angle, azimuth = topology.eye_angle[ball], topology.eye_azimuth[ball]
        directions = np.stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)], 1)
        seated[:, ball] = centre[:, None] + radius * directions.astype(heads.dtype)
        skin, follow = _followers(topology, mean, margin)
        outward = heads[:, margin] - centre[:, None]
        distance = np.linalg.norm(outward, axis=2, keepdims=True)
        shift = (radius - SINK - distance) * outward / distance
        seated[:, skin] += np.einsum("sm,nmc->nsc", follow.astype(heads.dtype), shift, optimize=True)
    return seated


def sphere_radius(head: np.ndarray, topology: HeadTopology) -> float:
    """Radius of a head's left eyeball, dm."""
    return fit_sphere(head[topology.vertex_mask("left_eye")])[1]


def _followers(topology: HeadTopology, mean: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skin around an eye, and (s, m) how much each of its vertices follows each margin vertex."""
    skin = np.flatnonzero(topology.vertex_mask("head") & ~topology.vertex_mask("mouth_socket"))
    apart = np.linalg.norm(mean[skin][:, None] - mean[margin][None], axis=2)
    near = apart.min(1) < 2.5 * REACH
    skin, apart = skin[near], apart[near]
    nearness = np.exp(-0.5 * ((apart - apart.min(1, keepdims=True)) / 0.02) ** 2)
    follow = nearness / nearness.sum(1, keepdims=True) * np.exp(-0.5 * (apart.min(1, keepdims=True) / REACH) ** 2)
    follow[np.isin(skin, margin)] = (skin[np.isin(skin, margin)][:, None] == margin[None]).astype(float)
    return skin, follow
