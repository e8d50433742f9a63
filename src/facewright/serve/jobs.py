"""What is handed to the processes of the service: light, so that they may be loaded with anything."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from facewright.errors import SettingsError

MEDIA = {"json": "application/json", "glb": "model/gltf-binary", "zip": "application/zip", "png": "image/png"}
"""Answers that there are, with their media types."""


@dataclass(frozen=True)
class FacesJob:
    """One picture.

    Attributes:
        picture: its bytes.
        answer: what is wanted: the document, one face's mesh, or all files.
        faces: all faces or the largest.
        face: of the mesh: which one, the largest first.
        files: of the ZIP.
        texture_px: side of textures.
    """

    picture: bytes
    answer: Literal["json", "glb", "zip"] = "json"
    faces: Literal["all", "largest"] = "all"
    face: int = 0
    files: tuple[str, ...] = ()
    texture_px: int = 1024


@dataclass(frozen=True)
class EditWish:
    """What is to be changed of a face; whatever is not named stays.

    Attributes:
        face: an entry of ``faces`` in an answer of ``/v1/faces``.
        neutral: take the expression away.
        expression_of: give it the expression of this face.
        with_pose: take the head's rotation from there too.
        frontal: turn it to the camera.
        light_of: put it in the light of this face.
        light_from: light it from this direction: x image right, y up, z to the camera.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False, "strict": True}

    face: dict[str, Any]
    neutral: bool = False
    expression_of: dict[str, Any] | None = None
    with_pose: bool = False
    frontal: bool = False
    light_of: dict[str, Any] | None = None
    light_from: tuple[float, float, float] | None = None

    def check(self) -> None:
        """Refuse wishes that contradict each other or would be ignored.

        Raises:
            SettingsError: naming them.
        """
        if self.neutral and self.expression_of is not None:
            raise SettingsError("expected neutral or expression_of, received both")
        if self.light_of is not None and self.light_from is not None:
            raise SettingsError("expected light_of or light_from, received both")
        if self.with_pose and (self.expression_of is None or self.frontal):
            raise SettingsError("expected with_pose only beside expression_of, and not beside frontal")
        if self.light_from is not None and not 1e-6 < max(map(abs, self.light_from)) < 1e6:
            raise SettingsError(f"expected a direction for light_from, received {self.light_from}")


@dataclass(frozen=True)
class EditJob:
    """A face to be changed, and what is wanted of it."""

    wish: EditWish
    answer: Literal["json", "glb", "png"] = "json"
    size_px: int = 512
