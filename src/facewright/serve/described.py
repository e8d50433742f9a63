"""What the service's OpenAPI document says beyond the parameters: bodies, answers, examples."""

from dataclasses import dataclass
from typing import Any

from facewright.serve.intake import PICTURE_PART
from facewright.serve.jobs import MEDIA

DESCRIPTION = """Photographs in, 3D faces out.

Send a picture, receive what is in it: a document, a textured mesh, or all files. Pictures are not kept and not logged.
Frames and units are those of the documentation's page on conventions."""


@dataclass(frozen=True)
class Problem:
    """Every answer that is no success.

    Attributes:
        error: name of what was wrong, for programs.
        message: what was expected, what was received, what helps.
    """

    error: str
    message: str


@dataclass(frozen=True)
class Health:
    """How the service is.

    Attributes:
        status: "ok", or "starting" while no process is there.
        ready: processes that are there.
        inside: requests waiting or in work.
        most: requests that may be inside.
        method: of reconstruction.
        weights: of its network.
        face_model: of coefficients.
        version: of facewright.
    """

    status: str
    ready: int
    inside: int
    most: int
    method: str
    weights: str
    face_model: str
    version: str


_MEANINGS = {
    400: "The request is cut off or malformed.",
    401: "The token is missing or wrong.",
    406: "None of the formats that Accept names is offered.",
    408: "The body took too long to come.",
    413: "The body is too large.",
    415: "The body is of a kind that is not taken.",
    422: "What was sent is no picture, shows no face, or a parameter is wrong.",
    429: "As many requests as may be are inside; Retry-After says when to come again.",
    500: "The service failed on this request; it goes on with others.",
    503: "The request's turn did not come in time, or the service is starting or ending.",
    504: "The work took longer than it may and was ended.",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": meaning} for status, meaning in _MEANINGS.items()
}
"""Answers that are no success, for FastAPI."""

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_FACE: dict[str, Any] = {
    "type": "object",
    "required": ["pose"],
    "properties": {
        "box": {**_NUMBERS, "description": "x0, y0, x1, y1, photo pixels"},
        "score": {"type": "number"},
        "landmarks_68": {"type": "array", "items": _NUMBERS, "description": "x, y, photo pixels"},
        "landmarks_68_3d": {"type": "array", "items": _NUMBERS, "description": "x, y, depth, photo pixels"},
        "camera": {"type": "object", "additionalProperties": {"type": "number"}},
        "pose": {
            "type": "object",
            "properties": {
                **{name: {"type": "number"} for name in ("yaw_deg", "pitch_deg", "roll_deg")},
                "translation_dm": _NUMBERS,
            },
        },
        "coefficients": {
            "type": "object",
            "properties": {
                **dict.fromkeys(("id", "exp", "tex"), _NUMBERS),
                "sh": {"type": "array", "items": _NUMBERS},
            },
        },
        "expression": {"type": "object", "additionalProperties": {"type": "number"}},
        "face_model": {"type": "string"},
        "weights": {"type": "string"},
        "method": {"type": "string"},
    },
}
_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["faces"],
    "properties": {
        "photo": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "width": {"type": "integer"}, "height": {"type": "integer"}},
        },
        "faces": {"type": "array", "items": _FACE, "description": "the largest first"},
        "failures": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "face": {"type": ["integer", "null"]},
                    "stage": {"type": "string"},
                    "error": {"type": "string"},
                },
            },
            "description": "faces that could not be reconstructed",
        },
    },
}
FACE_EXAMPLE: dict[str, Any] = {
    "pose": {"yaw_deg": 20.0, "pitch_deg": 0.0, "roll_deg": 0.0, "translation_dm": [0.0, 0.0, 0.0]},
    "coefficients": {"id": [1.0, -0.5] + [0.0] * 78, "exp": [0.0] * 52, "tex": [0.0] * 60},
    "method": "rnet",
}
"""A face of the open head, as ``/v1/edit`` takes it."""

EDIT_EXAMPLE = {"face": FACE_EXAMPLE, "frontal": True, "light_from": [-1.0, 0.5, 0.5]}

_BINARY = {"schema": {"type": "string", "format": "binary"}}


def success(answers: tuple[str, ...], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The entry of a success that may be any of some answers (names in ``MEDIA``)."""
    document = {"schema": _DOCUMENT, "example": example}
    content = {MEDIA[name]: document if name == "json" else _BINARY for name in answers}
    return {200: {"description": "What was asked for.", "content": content}}


def picture_body() -> dict[str, Any]:
    """The body of ``/v1/faces``."""
    form = {
        "type": "object",
        "required": [PICTURE_PART],
        "properties": {PICTURE_PART: {"type": "string", "format": "binary"}},
    }
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    content = {**dict.fromkeys(kinds, _BINARY), "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def edit_body(schema: dict[str, Any]) -> dict[str, Any]:
    """The body of ``/v1/edit``, of this schema."""
    return {"requestBody": {"required": True, "content": {MEDIA["json"]: {"schema": schema, "example": EDIT_EXAMPLE}}}}
