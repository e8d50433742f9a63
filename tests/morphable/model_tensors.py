"""All tensors of a face model by name, to compare two."""

from torch import Tensor

from facewright.morphable.linear import FaceModel


def tensors_of(model: FaceModel) -> dict[str, Tensor]:
    mesh = {"faces": model.faces, "uv": model.uv, "faces_uv": model.faces_uv}
    return dict(model.named_buffers()) | {name: value for name, value in mesh.items() if value is not None}
