"""What the 468 mesh points are: mirror partners, eyes, mouth and forehead; the five points for alignment out of them.

Right and left are the person's: right is image left in an upright face.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.records import FaceDetection

# fmt: off
MESH_MIRROR = [
    0, 1, 2, 248, 4, 5, 6, 249, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 250, 251, 252, 253, 254, 255, 256,
    257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276, 277, 278,
    279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297, 298, 299, 300,
    301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 322,
    323, 94, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338, 339, 340, 341, 342, 343,
    344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 360, 361, 362, 363, 364, 365,
    366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 151, 152, 380, 381, 382, 383, 384, 385,
    386, 387, 388, 389, 390, 164, 391, 392, 393, 168, 394, 395, 396, 397, 398, 399, 175, 400, 401, 402, 403, 404,
    405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 195, 419, 197, 420, 199, 200, 421, 422,
    423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 435, 436, 437, 438, 439, 440, 441, 442, 443, 444,
    445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455, 456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466,
    467, 3, 7, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44,
    45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72,
    73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 95, 96, 97, 98, 99, 100,
    101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122,
    123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144,
    145, 146, 147, 148, 149, 150, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 165, 166, 167, 169, 170,
    171, 172, 173, 174, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193,
    194, 196, 198, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219,
    220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241,
    242, 243, 244, 245, 246, 247,
]
"""The point that each point becomes in a mirror; 28 lie on the midline. Found by matching the points of mirrored faces,
and checked against the mesh's triangles (all but six, whose quads are split the other way, map to triangles)."""
# fmt: on

RIGHT_EYE = [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]
LEFT_EYE = [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466]
NOSE_TIP = [4, 1]
FOREHEAD = [10, 151, 109, 67, 103, 54, 21, 108, 69, 104, 68, 71, 338, 297, 332, 284, 251, 337, 299, 333, 298, 301]
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 61, 291


def five_from_mesh(mesh: Float[Tensor, "468 3"]) -> Float[Tensor, "5 2"]:
    """Eye centres (mean of the lid contours), nose tip (between the two foremost points) and mouth corners."""
    flat = mesh[:, :2]
    eyes = [flat[RIGHT_EYE].mean(0), flat[LEFT_EYE].mean(0)]
    return torch.stack([*eyes, flat[NOSE_TIP].mean(0), flat[RIGHT_MOUTH_CORNER], flat[LEFT_MOUTH_CORNER]])


def steadied_five(
    five: Float[Tensor, "5 2"], keypoints: Float[Tensor, "6 2"], mesh_score: float
) -> Float[Tensor, "5 2"]:
    """Lean on BlazeFace's keypoints as far as the mesh network doubts its points.

    Measured on renders: up to 60 degrees of yaw the mesh is better and sure of itself; at 75 degrees the two are level
    and the mesh's confidence is one half; in profile BlazeFace errs half as much. Mouth corners move with the mouth.
    """
    right_eye, left_eye, nose_tip, mouth = keypoints[:4]
    corners = five[3:] + mouth - five[3:].mean(0)
    return mesh_score * five + (1 - mesh_score) * torch.cat([torch.stack([right_eye, left_eye, nose_tip]), corners])


def box_from_mesh(mesh: Float[Tensor, "468 3"]) -> Float[Tensor, "4"]:
    """Bounds of all points but the forehead's: brows to chin, cheek to cheek."""
    below = torch.ones(len(mesh), dtype=torch.bool, device=mesh.device)
    below[FOREHEAD] = False
    points = mesh[below, :2]
    return torch.cat([points.amin(0), points.amax(0)])


def mesh_landmarks_68(detection: FaceDetection) -> Float[Tensor, "68 3"]:
    """The iBUG-68 landmarks out of the mesh of a detection, photo px and z in the same unit.

    The jaw line (0..16) is the mesh template's fixed outline: it agrees with iBUG's neither in two nor in three
    dimensions, least in turned heads. Use 17..67 where that matters.

    Raises:
        ValueError: the detection has no mesh (it comes from a landmarks file).
    """
    if detection.mesh is None:
        raise ValueError("expected a detection with a mesh, received five points only; use detect_faces on the photo")
    return detection.mesh[MESH_TO_IBUG68]
