"""The model frame: where the Deep3D crop and camera expect a head (deep3d.md section 1.4)."""

import numpy as np
from open_head.measurements import Calipers
from open_head.topology import HeadTopology

PITCH_DEG = -2.1
"""Angle by which the levelled (Frankfurt) head nods so that its 68 points lie best on those of the Deep3D mean face."""
CENTROID_DM = (0.0, -0.0844, 0.1298)
"""Mean of the 68 points there."""


def model_pose(topology: HeadTopology, mean: np.ndarray, ibug68: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and translation (3,) that take the mean head to the model frame; nothing is scaled."""
    angle = Calipers(topology, mean).pitch + np.radians(PITCH_DEG)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    return rotation, np.array(CENTROID_DM) - rotation @ mean[ibug68].mean(0)
