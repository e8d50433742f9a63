"""Results decoded with more vertices: same coefficients, same face, smoother mesh."""

from facewright.assets import embedded_path
from facewright.morphable.container import load_face_model
from facewright.photo import read_photo
from facewright.pipeline.flow import load_reconstructor


def test_subdivision_changes_the_mesh_and_not_the_face():
    flow = load_reconstructor(subdivide=True)
    (fine,) = flow.faces_in(read_photo(embedded_path("photos/astronaut.jpg")))
    coarse = load_face_model()
    assert len(fine.mesh.faces) == 4 * len(coarse.faces)
    coarse_mesh = coarse.decode(fine.coefficients)
    first = len(coarse_mesh.vertices[0])
    moved_dm = (fine.mesh.vertices[0, :first] - coarse_mesh.vertices[0]).norm(dim=-1)
    assert moved_dm.median() < 0.01  # a millimetre: Loop's rule smooths the old vertices a little
    assert moved_dm.max() > 1e-4
