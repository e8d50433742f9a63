"""A face's motion as a table in the column layout in which phones with ARKit write face captures.

One row a frame: timecode, number of values, 52 weights in ARKit's order, head and eyes.
"""

import csv
import io
from fractions import Fraction

import torch

from facewright.errors import ExportError
from facewright.export.moving import FaceMotion
from facewright.geometry.rotations import angles_from_rotation

ARKIT_NAMES = (
    *(f"eye{part}{side}" for side in ("Left", "Right")
      for part in ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")),
    "jawForward", "jawRight", "jawLeft", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft",
    *(f"mouth{part}{side}" for part in ("Smile", "Frown", "Dimple", "Stretch") for side in ("Left", "Right")),
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    *(f"mouth{part}{side}" for part in ("Press", "LowerDown", "UpperUp") for side in ("Left", "Right")),
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""ARKit's 52 blendshapes, in the order of its captures."""
ANGLES = ("Head", "LeftEye", "RightEye")
TURNS = ("Yaw", "Pitch", "Roll")
COLUMNS = (
    "Timecode",
    "BlendshapeCount",
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *(part + turn for part in ANGLES for turn in TURNS),
)
"""Of the table."""
FRAMES_A_SECOND = 60
"""Of timecodes: ``hours:minutes:seconds:frames.thousandths``, whatever the clip's own rate."""


def capture_bytes(motion: FaceMotion) -> bytes:
    """The table.

    Head angles are radians: yaw turns the nose to image right, pitch nods down, roll is counter-clockwise as seen. Eyes
    look by their weights (``eyeLookInLeft`` ...) and have no angles: those columns are 0. Weights that the motion has
    not are 0.

    Raises:
        ExportError: the motion has none of the weights, or numbers that are not finite.
    """
    place = {name: k for k, name in enumerate(motion.names)}
    if not place.keys() & set(ARKIT_NAMES):
        raise ExportError(
            f"a face capture expects weights of ARKit's names, received {', '.join(motion.names[:4]) or 'none'}; "
            "take the open head, or leave out csv"
        )
    angles = angles_from_rotation(motion.rotations.double())[:, [1, 0, 2]]
    known = [place.get(name, -1) for name in ARKIT_NAMES]
    padded = torch.nn.functional.pad(motion.weights.double(), (0, 1)).clamp(0.0, 1.0)
    values = torch.cat([padded[:, known], angles, torch.zeros(len(angles), 6, dtype=torch.float64)], 1)
    if not bool(values.isfinite().all()):
        raise ExportError("expected finite weights and angles; nothing was written")
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    for time, row in zip(motion.times_s.tolist(), values.tolist(), strict=True):
        rows.writerow([timecode(time), len(COLUMNS) - 2, *(f"{value:.9f}" for value in row)])
    return stream.getvalue().encode()


def timecode(time_s: float) -> str:
    """``01:02:03:45.678``: frames of a sixtieth of a second, and thousandths of one."""
    thousandths = round(Fraction(time_s) * FRAMES_A_SECOND * 1000)
    frames, rest = divmod(thousandths, 1000)
    seconds, frame = divmod(frames, FRAMES_A_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}:{frame:02d}.{rest:03d}"
