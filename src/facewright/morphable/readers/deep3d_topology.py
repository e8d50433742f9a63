"""The 35,709-vertex crop of the Basel Face Model 2009 that Deep3D works on (docs/deep3d.md sections 1.1 to 1.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import ids_from_one, pick, shaped, vector
from facewright.morphable.readers.topology import faces_inside, incident_faces

LICENCE = "Basel Face Model 2009 agreement (non-commercial research, no redistribution)"
MAX_VALENCE = 8


@dataclass(frozen=True)
class Deep3dTopology:
    """What Deep3D knows about its crop; ids from 0, checked against each other.

    Attributes:
        faces: counter-clockwise from outside.
        ibug68: vertex ids of the landmarks.
        photometric: vertices on which colours are compared.
        skin: vertices on which the albedo should be even.
    """

    faces: Int[np.ndarray, "F 3"]
    ibug68: Int[np.ndarray, "68"]
    photometric: Bool[np.ndarray, " V"]
    skin: Bool[np.ndarray, " V"]

    def regions(self, crop_of_front: Int[np.ndarray, " V"], count: int) -> dict[str, Float[np.ndarray, " N"]]:
        """The vertex masks on a mesh of ``count`` vertices in which the crop's vertices have the given ids."""
        masks = {}
        for name, mask in {"photometric": self.photometric, "skin": self.skin}.items():
            masks[name] = np.zeros(count, np.float32)
            masks[name][crop_of_front] = mask
        return masks


def read_topology(variables: Mapping[str, Any], count: int, file: str) -> Deep3dTopology:
    """Name and check the tables of ``facemodel_info.mat`` or ``BFM_model_front.mat``.

    ``point_buf`` and ``tri_mask2`` follow from the others: they are recomputed and must come out equal.

    Args:
        variables: MATLAB variables, ids from 1.
        count: number of vertices of the crop.
        file: name of the file, for errors.

    Raises:
        FaceModelError: a table is missing, has another shape, counts from 0, or contradicts another.
    """
    faces = ids_from_one(shaped(pick(variables, "tri", file), (None, 3), f"{file}: tri"), count, f"{file}: tri")
    keypoints = vector(pick(variables, "keypoints", file), 68, f"{file}: keypoints")
    inside = vector(pick(variables, "frontmask2_idx", file), None, f"{file}: frontmask2_idx")
    skin = vector(pick(variables, "skinmask", file), count, f"{file}: skinmask")
    photometric = np.zeros(count, bool)
    photometric[ids_from_one(inside, count, f"{file}: frontmask2_idx")] = True
    topology = Deep3dTopology(
        faces, ids_from_one(keypoints, count, f"{file}: keypoints"), photometric, skin.astype(np.float64) > 0.5
    )
    _check_point_buf(pick(variables, "point_buf", file), faces, count, file)
    _check_tri_mask(pick(variables, "tri_mask2", file), topology, file)
    return topology


def released_photometric_faces(
    faces: Int[np.ndarray, "F 3"], photometric: Bool[np.ndarray, " V"]
) -> Int[np.ndarray, "G 3"]:
    """The triangles that the released PyTorch training of Deep3D took for its photometric region (defect D1).

    They are the region's own triangles, but numbered within the region and then looked up in the whole mesh, so 42 % of
    them are no triangles of the mesh, and chin and lower jaw are left out (so no mask over faces can hold them). Only
    for reproducing that training: the region itself is ``face_parts["photometric"]``.

    Args:
        faces: of the 35,709-vertex crop.
        photometric: its photometric vertices.
    """
    number_in_region = np.cumsum(photometric) - 1
    return number_in_region[faces[faces_inside(faces, photometric)]]


def photometric_triangles(model: FaceModel, *, released: bool = False) -> Int[Tensor, "G 3"]:
    """Triangles of a Basel model on which a rendering's colours are compared with the photo's.

    Args:
        model: imported with its "photometric" region, the 35,709-vertex crop if ``released``.
        released: as the released PyTorch training took them (defect D1), to reproduce it; else the region itself.

    Raises:
        FaceModelError: the model has no photometric region.
    """
    mask = model.annotations.regions.get("photometric")
    if mask is None:
        raise FaceModelError(f"face model {model.name!r}: expected a region 'photometric', found none; import it again")
    faces, inside = model.faces.cpu().numpy(), mask.cpu().numpy() > 0.5
    chosen = released_photometric_faces(faces, inside) if released else faces[faces_inside(faces, inside)]
    return torch.from_numpy(chosen).to(model.faces)


def _check_point_buf(stored: Any, faces: Int[np.ndarray, "F 3"], count: int, file: str) -> None:
    table = ids_from_one(
        shaped(stored, (count, MAX_VALENCE), f"{file}: point_buf"), len(faces) + 1, f"{file}: point_buf"
    )
    try:
        expected = incident_faces(faces, count, MAX_VALENCE)
    except ValueError as error:
        raise FaceModelError(f"{file}: tri is not the triangle list of Deep3D: {error}") from error
    if not np.array_equal(np.sort(table, 1), np.sort(expected, 1)):
        wrong = int((np.sort(table, 1) != np.sort(expected, 1)).any(1).sum())
        raise FaceModelError(
            f"{file}: expected point_buf to list the faces of tri around each vertex, found {wrong} vertices where it "
            "does not; take the files of one and the same Deep3D checkout"
        )


def _check_tri_mask(stored: Any, topology: Deep3dTopology, file: str) -> None:
    what = f"{file}: tri_mask2"
    region = released_photometric_faces(topology.faces, topology.photometric)
    table = ids_from_one(shaped(stored, (len(region), 3), what), int(topology.photometric.sum()), what)
    if not np.array_equal(table, region):
        raise FaceModelError(
            f"{what}: expected the triangles inside frontmask2_idx, found others; take the files of one Deep3D checkout"
        )
