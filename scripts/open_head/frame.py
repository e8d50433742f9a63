"""The model frame: where the Deep3D crop and camera expect a head (docs/deep3d.md section 1.4)."""

import numpy as np
from open_head.measurements import FRAME_NOD_DEG, levelling, nodding
from open_head.topology import HeadTopology

CENTROID_DM = (0.0, -0.0844, 0.1298)
"""Where the mean of the 68 points lies in the Deep3D mean face; the nod is fitted to them too."""


def upright(topology: HeadTopology, mean: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that takes a head (V, 3) of the source to the orientation of the model frame."""
    return nodding(np.radians(FRAME_NOD_DEG)) @ levelling(topology, mean)


def placement(mean: np.ndarray, ibug68: np.ndarray) -> np.ndarray:
    """Translation (3,) that takes an upright mean head (V, 3) to the model frame; nothing is scaled."""
    return np.array(CENTROID_DM) - mean[ibug68].mean(0)
