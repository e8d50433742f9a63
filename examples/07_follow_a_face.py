"""Follow a face from frame to frame, without looking for it in each.

The detector finds a face once. From then on the landmarks of one frame say where to look in the next, and the network
says how sure it is: where it doubts, the face is lost, and the detector looks for it again. Here the frames are one
portrait that wanders through a picture; give `follow` the frames of your own clip or camera.
"""

import numpy as np
import tyro

import facewright
from facewright.assets import embedded_path
from facewright.pipeline.tracking import FaceTracker


def frames(count: int) -> list[facewright.Photo]:
    """A portrait that moves to the right, and is gone in the middle of the clip."""
    portrait = facewright.read_photo(embedded_path("photos/astronaut.jpg")).pixels.permute(1, 2, 0).numpy()
    height, width, _ = portrait.shape
    clip = []
    for k in range(count):
        frame = np.full((height, width + 20 * count, 3), 90, np.uint8)
        if k != count // 2:
            frame[:, 20 * k : 20 * k + width] = portrait
        clip.append(facewright.photo_from_array(frame))
    return clip


def main(count: int = 9) -> None:
    """Follow a face.

    Args:
        count: frames.
    """
    tracker = FaceTracker(facewright.load_reconstructor(weights="fast", refine=0))
    for k, frame in enumerate(frames(count)):
        face = tracker.follow(frame)
        if face is None:
            print(f"frame {k}: no face")
            continue
        x, y = face.landmarks[30].tolist()
        how = "found" if face.detected else "followed"
        print(f"frame {k}: {how}, nose at {x:.0f}, {y:.0f}, doubt {100 * face.doubt:.2f} % of the crop")


if __name__ == "__main__":
    tyro.cli(main)
