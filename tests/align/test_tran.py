"""The crops of 3DMM-CNN, by hand from the published numbers: what they reach, that they are square, black outside."""

import pytest
import torch

from facewright.align.tran import crop_tran, tran_box, tran_box_of_landmarks
from facewright.errors import ReconstructionError
from facewright.records import Photo

FIVE = torch.zeros(5, 2)


def test_boxes_are_those_of_the_published_program():
    """The middle of a box, and so many halves of its longer side to each side (by hand)."""
    # Landmarks from (100, 80) to (180, 180): middle (140, 130), half of the longer side 50.
    landmarks = torch.full((68, 2), 130.0)
    landmarks[3], landmarks[60] = torch.tensor([100.0, 180.0]), torch.tensor([180.0, 80.0])
    by_hand = torch.tensor([140 - 96.275, 130 - 112.955, 140 + 97.115, 130 + 80.435], dtype=torch.float64)
    torch.testing.assert_close(tran_box_of_landmarks(landmarks), by_hand, atol=1e-4, rtol=0)
    # A detector's box from (20, 10) to (120, 90): middle (70, 50), half 50.
    by_hand = torch.tensor([70 - 89.2987, 50 - 97.55855, 70 + 91.78, 50 + 83.52015], dtype=torch.float64)
    found = tran_box(torch.tensor([20.0, 10.0, 120.0, 90.0]))
    torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=0)
    for box, side in ((tran_box_of_landmarks(landmarks), 3.8678 * 50), (found, 3.621574 * 50)):
        sides = box[2:] - box[:2]
        torch.testing.assert_close(sides, torch.full((2,), side, dtype=torch.float64), atol=1e-3, rtol=0)


def test_pixels_of_a_box_at_its_own_size_are_the_photos_and_black_outside():
    generator = torch.Generator().manual_seed(0)
    photo = Photo(torch.randint(1, 256, (3, 20, 30), dtype=torch.uint8, generator=generator))
    box = torch.tensor([-4.0, 6.0, 12.0, 22.0], dtype=torch.float64)  # 16 px; 4 columns left of it, 2 rows below it
    crop = crop_tran(photo, box, FIVE, size=16).crop
    expected = torch.zeros(3, 16, 16)
    expected[:, :14, 4:] = photo.pixels[:, 6:, :12].float() / 255
    torch.testing.assert_close(crop, expected, atol=1e-6, rtol=0)


def test_boxes_without_a_face_are_refused():
    for box in ([5.0, 5.0, 5.0, 9.0], [0.0, 0.0, float("nan"), 9.0], [0.0, 0.0, 1e9, 1e9]):
        with pytest.raises(ReconstructionError, match="a box x0, y0, x1, y1 that holds a face"):
            tran_box(torch.tensor(box))
