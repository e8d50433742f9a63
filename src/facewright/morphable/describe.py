"""What a face model is, in a few facts."""

from typing import Any

from facewright.morphable.linear import FaceModel


def describe_face_model(model: FaceModel) -> dict[str, Any]:
    """JSON-able facts: metadata, sizes, size of the mean head in mm, and which annotations there are."""
    layout, notes = model.layout, model.annotations
    extent = (model.mean_shape.amax(0) - model.mean_shape.amin(0)) * 100.0
    landmarks = {
        "ibug68": notes.ibug68,
        "five": notes.five,
        "contours": notes.contours,
        "mesh468": notes.mesh468,
        "mirror": notes.mirror,
    }
    return {
        **model.metadata,
        "vertices": model.mean_shape.shape[0],
        "faces": model.faces.shape[0],
        "id_modes": layout.id,
        "exp_modes": layout.exp,
        "albedo_modes": layout.tex,
        "coefficients": layout.size,
        "exp_names": list(model.exp_names),
        "mean_size_mm": [round(value, 1) for value in extent.tolist()],
        "texture_coordinates": 0 if model.uv is None else model.uv.shape[0],
        "annotations": [name for name, value in landmarks.items() if value is not None],
        "regions": sorted(notes.regions),
        "face_parts": {name: int(mask.sum()) for name, mask in sorted(notes.face_parts.items())},
    }
