"""Photometric errors against scikit-image and by hand; overlap of masks."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from facewright.evaluate.images import mask_iou, photometric_errors


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    photo = rng.random((3, 20, 30))
    return np.clip(photo + 0.05 * rng.normal(size=photo.shape), 0, 1), photo


def test_whole_picture_is_scikit_image_s(pictures):
    rendered, photo = pictures
    errors = photometric_errors(rendered, photo, np.ones((20, 30)))
    assert errors.psnr_db == pytest.approx(peak_signal_noise_ratio(photo, rendered, data_range=1.0))
    assert errors.l1 == pytest.approx(np.abs(rendered - photo).mean())
    assert errors.pixels == 600


def test_one_pixel_by_hand():
    rendered, photo, weight = np.zeros((3, 2, 2)), np.zeros((3, 2, 2)), np.zeros((2, 2))
    rendered[:, 0, 0] = [0.3, 0.0, 0.4]
    rendered[:, 1, 1] = 1.0  # outside of the mask
    weight[0, 0], weight[0, 1] = 1.0, 0.5
    errors = photometric_errors(rendered, photo, weight)
    assert errors.euclidean == pytest.approx(0.5 / 1.5)
    assert errors.l1 == pytest.approx(0.7 / 3 / 1.5)
    assert photometric_errors(photo, photo, weight).psnr_db == np.inf


def test_no_pixel_is_refused(pictures):
    with pytest.raises(ValueError, match="outside"):
        photometric_errors(pictures[0], pictures[1], np.zeros((20, 30)))


def test_overlap_of_masks():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert mask_iou(first, second) == 1
    first[:2], second[1:3] = True, True
    assert mask_iou(first, second) == pytest.approx(4 / 12)
