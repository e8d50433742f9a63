"""Where the photometric term looks: the face model's own region, or the one of the released PyTorch program."""

from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.frames import clip_from_world
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.deep3d_topology import photometric_triangles
from facewright.records import Camera
from facewright.render.rasterizers import rasterize


def released_triangles(model: FaceModel) -> Int[Tensor, "G 3"] | None:
    """The triangles that the released PyTorch program draws its region with (docs/deep3d.md section 11, D1).

    None for face models that are not that program's own: numbered wrongly, the triangles of others mean nothing.
    """
    own = model.metadata.get("crop") == "front" and "photometric" in model.annotations.regions
    return photometric_triangles(model, released=True) if own else None


def drawn_region(
    vertices_world: Float[Tensor, "B V 3"], triangles: Int[Tensor, "G 3"], camera: Camera
) -> Float[Tensor, "B H W"]:
    """1 where the triangles are, whatever lies before them: drawn alone, as that program does. No gradient."""
    vertices_clip = clip_from_world(vertices_world.detach(), camera)
    fragments = rasterize(vertices_clip, triangles, (camera.height, camera.width))
    return (fragments.face_index >= 0).to(vertices_world)
