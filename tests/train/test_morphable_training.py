"""``facewright train 3dmm-cnn``: one run by the command line; trunks that look at a crop once."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from facewright.cli import main
from facewright.errors import TrainingError
from facewright.export.asset import to_uint8
from facewright.morphable.container import save_face_model
from facewright.pipeline.shared_trunks import SharedTrunks
from facewright.regress.morphable_cnn import SHARED
from facewright.regress.weights import describe_weights, load_weights
from facewright.train.make import make_data
from facewright.train.morphable_training import (
    MORPHABLE_PRESETS,
    MorphableCNNSettings,
    TrunkMemory,
    begin_morphable_cnn,
    check_morphable_cnn,
)
from facewright.train.run_folder import read_log
from facewright.train.samples import DataCard, TrainingSample, empty_points
from tests.train.pictures import draw_batch, some_faces

SIZE, PEOPLE = 48, 4


def test_a_run_learns_codes_and_people_apart(toy_model, tmp_path):
    save_face_model(toy_model, tmp_path / "toy.npz")
    faces = some_faces(toy_model, 2 * PEOPLE, 0)
    who = torch.arange(2 * PEOPLE) // 2
    faces = replace(faces, id=faces.id[2 * who], tex=faces.tex[2 * who])
    batch = draw_batch(toy_model, faces, SIZE, torch.ones(2 * PEOPLE, dtype=torch.bool))
    vectors = toy_model.layout.pack(faces).numpy()

    def samples(job):
        return [
            TrainingSample(
                f"{job}",
                np.ascontiguousarray(to_uint8(batch.crops[job]).transpose(1, 2, 0)),
                to_uint8(batch.skin[job]),
                0,
                batch.landmarks[job].numpy(),
                batch.landmark_weights[job].numpy(),
                *empty_points(468),
                vectors[job],
                int(who[job]),
            )
        ]

    card = DataCard("synthetic", SIZE, 0, face_model="toy", layout=toy_model.layout, source="toys")
    make_data(tmp_path / "data", card, range(2 * PEOPLE), samples)
    line = ["train", "3dmm-cnn", "--preset", "smoke", "--data", str(tmp_path / "data"), "--together", "2"]
    line += ["--face-model", str(tmp_path / "toy.npz"), "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(line) == 0
    log = read_log(tmp_path / "run/log.jsonl")
    for name in ("codes", "apart"):
        first, last = (np.mean([entry["terms"][name] for entry in part]) for part in (log[:3], log[-3:]))
        assert last < 0.8 * first, name
    card = describe_weights(tmp_path / "run/weights.safetensors")
    assert (card["kind"], card["id"], card["tex"]) == ("3dmm-cnn", toy_model.layout.id, toy_model.layout.tex)
    net = load_weights(tmp_path / "run/weights.safetensors")
    with torch.no_grad():
        codes = net(batch.crops)
    true = torch.cat([faces.id, faces.tex], -1)
    assert (codes - true).square().sum() < true.square().sum()
    assert list((tmp_path / "run").glob("**/*.png")), "a sheet of faces"


def test_trunks_look_at_a_crop_once_and_forget_the_oldest():
    class Trunks:
        looked = 0

        def seen(self, crops):
            self.looked += len(crops)
            return crops.mean((2, 3)).repeat(1, 4)

    trunks, crops = Trunks(), torch.rand(5, 3, 8, 8)
    memory = TrunkMemory(trunks.seen, 5 * 12 * 2)
    first = memory(crops)
    assert first.shape == (5, 12)
    torch.testing.assert_close(memory(crops.flip(0)), first.flip(0))
    assert trunks.looked == 5
    memory(torch.rand(1, 3, 8, 8))
    memory(crops)
    assert trunks.looked == 7


def test_settings_that_cannot_be_trained_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="--backbone of shared"):
        check_morphable_cnn(MorphableCNNSettings(backbone="vgg"))
    with pytest.raises(TrainingError, match="weighs something"):
        check_morphable_cnn(MorphableCNNSettings(over=0.0, under=0.0))
    assert MORPHABLE_PRESETS["paper"].network.backbone == "resnet101_caffe"
    assert (MORPHABLE_PRESETS["paper"].network.over, MORPHABLE_PRESETS["paper"].network.under) == (1.0, 3.0)
    assert main(["train", "3dmm-cnn", "--trunks", "open", "--backbone", "resnet18", "--data", "x", "--out", "y"]) == 2


def test_the_shipped_preset_reads_what_the_package_sees():
    course = begin_morphable_cnn(replace(MORPHABLE_PRESETS["open"].network, hidden=8), 0, torch.device("cpu"))
    assert course.net.architecture == SHARED
    assert set(cast("dict[str, Any]", course.net.trunks)) == {"open", "identity"}
    crops = torch.rand(1, 3, 224, 224)
    orders = [SharedTrunks.load(names).seen(crops) for names in (("open", "identity"), ("identity", "open"))]
    assert torch.equal(*orders)  # a card holds names in another order than they were given in
    (codes,) = course.answer(course.net.eval(), torch.rand(2, 3, 128, 128))
    assert codes.shape == (2, 140)
    assert not codes.any()
