"""Results decoded with more vertices: same coefficients, same face, smoother mesh."""

from facewright.assets import embedded_path
from facewright.photo import read_photo
from facewright.pipeline.flow import load_reconstructor


def test_subdivision_changes_the_mesh_and_not_the_face():
    flow = load_reconstructor(subdivide=True)
    assert flow.finer_model is not None
    (fine,) = flow.faces_in(read_photo(embedded_path("photos/astronaut.jpg")))
    assert len(fine.mesh.faces) == 4 * len(flow.face_model.faces)
    coarse_mesh = flow.face_model.decode(fine.coefficients)
    first = len(coarse_mesh.vertices[0])
    moved_dm = (fine.mesh.vertices[0, :first] - coarse_mesh.vertices[0]).norm(dim=-1)
    assert moved_dm.median() < 0.01  # a millimetre: Loop's rule smooths the old vertices a little
    assert moved_dm.max() > 1e-4
