"""People by their codes: descriptors, thresholds, galleries that are damaged or of another network, large ones."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from facewright.apps.recognise import (
    Calibration,
    CodeSource,
    KnownPeople,
    Searcher,
    calibrated,
    load_calibration,
    load_gallery,
    save_calibration,
    save_gallery,
)
from facewright.errors import RecognitionError

NETWORK = CodeSource("3dmm-cnn", "net.safetensors", "a" * 64, "shape-texture")
PEOPLE, PHOTOS, CODES = 40, 4, 12


@pytest.fixture(scope="module")
def photos():
    """Codes of people and of who they are."""
    rng = np.random.default_rng(0)
    people = rng.normal(size=(PEOPLE, CODES)) * np.linspace(2.0, 0.5, CODES)
    return np.repeat(people, PHOTOS, 0) + 0.3 * rng.normal(size=(PEOPLE * PHOTOS, CODES)), np.arange(
        PEOPLE * PHOTOS
    ) // PHOTOS


@pytest.fixture(scope="module")
def calibration(photos) -> Calibration:
    codes, persons = photos
    return calibrated(codes, persons, NETWORK, source="drawn numbers")


ENGINES = ["numpy", *(["usearch"] if find_spec("usearch") else [])]


@pytest.fixture
def gallery(photos, calibration) -> KnownPeople:
    codes, persons = photos
    return KnownPeople.of({f"person {k}": list(codes[persons == k][:-1]) for k in range(PEOPLE)}, calibration)


def test_thresholds_are_wrong_as_often_as_they_say(photos, calibration):
    """On people who were not there; a loop over the pairs."""
    rng = np.random.default_rng(7)
    strangers = rng.normal(size=(200, CODES)) * np.linspace(2.0, 0.5, CODES)
    found = calibration.descriptors(strangers)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    scores = (found @ found.T)[np.triu_indices(200, 1)]
    assert [threshold.far for threshold in calibration.thresholds] == [0.1, 0.01]
    for threshold in calibration.thresholds:
        assert threshold.tar > 0.9
        assert np.mean(scores >= threshold.score) == pytest.approx(threshold.far, rel=0.7)
    with pytest.raises(RecognitionError, match=r"--far of 0\.1, 0\.01"):
        calibration.threshold(0.001)
    with pytest.raises(RecognitionError, match="8 or more people"):
        calibrated(photos[0][:8], photos[1][:8], NETWORK)


def test_a_gallery_finds_whom_it_holds_with_either_engine(photos, calibration, gallery):
    codes, _ = photos
    asked = calibration.descriptors(codes[PHOTOS - 1 :: PHOTOS])
    engines = [Searcher(gallery, engine) for engine in ENGINES]
    for person, descriptor in enumerate(asked):
        slow = sorted(
            ((float(row @ descriptor), name) for name, row in zip(gallery.names, gallery.descriptors, strict=True))
        )
        for searcher in engines:
            found = searcher.likest(descriptor, 3)
            assert [name for name, _ in found] == [name for _, name in slow[:-4:-1]]
            assert found[0][1] == pytest.approx(slow[-1][0], abs=1e-6)
            assert found[0][0] == f"person {person}"
    assert len(engines[0].likest(asked[0], 1000)) == PEOPLE


def test_sets_are_pooled_before_they_are_described(photos, calibration):
    codes, _ = photos
    one = KnownPeople.of({"a": [codes[0], codes[1]]}, calibration)
    mean = (codes[0] + codes[1]) / 2
    np.testing.assert_allclose(one.codes[0], mean, rtol=1e-6)
    np.testing.assert_allclose(one.descriptors[0], calibration.descriptors(mean[None])[0], atol=1e-6)
    assert one.photos.tolist() == [2]


def test_files_come_back_and_people_are_added_or_replaced(gallery, calibration, photos, tmp_path):
    save_gallery(gallery, tmp_path / "people.safetensors")
    again = load_gallery(tmp_path / "people.safetensors")
    assert again.names == gallery.names
    np.testing.assert_array_equal(again.descriptors, gallery.descriptors)
    more = KnownPeople.of({"person 3": [photos[0][0]], "new": [photos[0][1]]}, calibration)
    both = again.with_people(more)
    assert len(both.names) == PEOPLE + 1
    assert both.names[-2:] == ("person 3", "new")
    np.testing.assert_array_equal(both.descriptors[-2:], more.descriptors)
    save_calibration(calibration, tmp_path / "calibration.safetensors")
    read = load_calibration(tmp_path / "calibration.safetensors")
    assert (read.network, read.thresholds, read.people) == (NETWORK, calibration.thresholds, PEOPLE)
    np.testing.assert_allclose(read.descriptors(photos[0]), calibration.descriptors(photos[0]), atol=1e-3)


def test_damaged_files_and_those_of_another_network_are_refused_by_name(gallery, calibration, tmp_path):
    path = tmp_path / "people.safetensors"
    save_gallery(gallery, path)
    whole = path.read_bytes()
    for place in (len(whole) // 2, len(whole) - 3, 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(bytes(damaged))
        with pytest.raises(RecognitionError, match=r"people\.safetensors"):
            load_gallery(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecognitionError, match="enrol the people again"):
        load_gallery(path)
    with pytest.raises(RecognitionError, match="found none"):
        load_gallery(tmp_path / "nobody.safetensors")
    save_calibration(calibration, path)
    with pytest.raises(RecognitionError, match="facewright-people/1"):
        load_gallery(path)
    other = CodeSource("3dmm-cnn", "other.safetensors", "b" * 64, "shape-texture")
    with pytest.raises(RecognitionError, match=r"people\.safetensors was made with .*their codes are other numbers"):
        other.require(gallery.network, "people.safetensors")
    with pytest.raises(RecognitionError, match="codes are other numbers"):
        gallery.with_people(replace(gallery, network=other))
