"""Pooled codes of people: the formula, strangers, people without a usable photo."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from facewright.cli import main
from facewright.errors import TrainingDataError
from facewright.train import labels
from facewright.train.labels import Fitted, person_folders, pooled_codes, strange
from facewright.train.make import Rejection
from facewright.train.samples import DataCard
from facewright.train.shards import load_data
from tests.train.samples import LAYOUT, dotted_sample


def test_pooling_is_the_formula():
    """By a loop; of any order; one photo is itself; photos without trust have no say, and some must have one."""
    generator = torch.Generator().manual_seed(0)
    codes, trust = torch.randn(5, 7, generator=generator), torch.rand(5, generator=generator)
    found = pooled_codes(codes, trust)
    total = sum(float(value) for value in trust)
    for k in range(7):
        expected = sum(float(trust[i]) / total * float(codes[i, k]) for i in range(5))
        assert float(found[k]) == pytest.approx(expected, abs=1e-6)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(pooled_codes(codes[order], trust[order]), found, rtol=0, atol=1e-7)
    assert torch.equal(pooled_codes(codes[:1], trust[:1]), codes[0])
    trust[1:] = 0.0
    torch.testing.assert_close(pooled_codes(codes, trust), codes[0])
    with pytest.raises(TrainingDataError, match="trusted at all"):
        pooled_codes(codes, torch.zeros(5))


def test_who_is_far_from_most_is_a_stranger_unless_all_are_far():
    places = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.1, 0.1], [2.0, 0.0]])
    assert list(strange(torch.cdist(places, places), 0.6)) == [4]
    assert strange(torch.cdist(places[:4], places[:4]), 0.6) == {}
    scattered = 3.0 * torch.eye(5)
    assert strange(torch.cdist(scattered, scattered), 0.6) == {}


def test_people_are_labelled_and_strangers_and_empty_folders_named(tmp_path, monkeypatch, capsys):
    """The flow is a stand-in: what becomes of its answers is looked at."""
    for name, count in (("ann", 4), ("ben", 1), ("nobody", 1)):
        (tmp_path / "people" / name).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / "people" / name / f"{k}.png")
    card = DataCard("photographs", 32, 4, face_model="toy", layout=LAYOUT, source="toys")
    monkeypatch.setattr(labels, "label_card", lambda settings: card)
    monkeypatch.setattr(labels, "_parts", lambda settings: (None, None))
    monkeypatch.setattr(labels, "outliers", lambda faces, limit: {2: 0.9} if len(faces) == 4 else {})
    monkeypatch.setattr(labels.PersonSampler, "_fitted", fitted)
    line = ["train", "labels", str(tmp_path / "people"), "--out", str(tmp_path / "data"), "--workers", "1"]
    assert main(line) == 1
    said = capsys.readouterr().err
    assert "ann/2.png: another person" in said
    assert "nobody" in said
    assert "usable photos" in said
    data = load_data(tmp_path / "data")
    group = data.read_group(0)
    assert len(data) == 4
    truth = np.asarray(group.truth)
    np.testing.assert_allclose(truth[:3, :4], np.full((3, 4), (0 * 1 + 1 * 2 + 3 * 4) / 7), rtol=1e-6)
    np.testing.assert_allclose(truth[3, :4], 0.0)
    np.testing.assert_allclose(truth[:3, 4], [0.0, 1.0, 3.0])  # expressions stay those of the photos
    assert main(line) == 1  # goes on: nothing is left to do
    with pytest.raises(TrainingDataError, match="different names"):
        person_folders([tmp_path / "people", tmp_path / "people" / "ann"])
    with pytest.raises(TrainingDataError, match="expected a folder of people"):
        person_folders([tmp_path / "elsewhere"])


def fitted(sampler, flow, key, path):
    """Photo k of a person says k everywhere, and is trusted 1, 2, 3, 4 times."""
    if key.startswith("nobody"):
        return Rejection(key, "NoFaceFoundError", "no face")
    k, layout = int(path.stem), LAYOUT
    face = SimpleNamespace(
        coefficients=layout.unpack(torch.full((1, layout.size), float(k))), face_model=SimpleNamespace(layout=layout)
    )
    card = DataCard("photographs", 32, 4, face_model="toy", layout=layout)
    found = Fitted.__new__(Fitted)  # its face is a stand-in
    for name, value in {"key": key, "face": face, "sample": dotted_sample(k, card), "confidence": float(k + 1)}.items():
        object.__setattr__(found, name, value)
    return found
