"""The benchmark that needs nothing: exact answers measure zero, the mean head measures what it should."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.likeness import LikenessPlan, likeness_figures
from facewright.evaluate.benchmarks.synthetic import METRICS, evaluate_synthetic, scene_errors
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, silent
from facewright.evaluate.methods import FlowMethod, MeasuredFace, load_method
from facewright.evaluate.report import write_report
from facewright.evaluate.results import read_result
from facewright.geometry.ibug68 import MIRROR_68
from facewright.morphable.linear import FaceModel
from facewright.records import FaceDetection, Photo
from facewright.synthetic import HELD_OUT_SEED, Scene, Studio, open_studio, photograph, plan_scene
from tests.evaluate.benchmarks.people import KnownMethod, value
from tests.pipeline.flows import fit_flow

LITTLE = LikenessPlan(mirrored=1, people=0, clips=1, frames=3)
COUNT = 3


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio()


@pytest.fixture(scope="module")
def scene(studio: Studio) -> Scene:
    return photograph(studio, plan_scene(studio, HELD_OUT_SEED, width=200, height=200, prop="none", yaw_deg=20.0))


@pytest.fixture(scope="module")
def mean_head() -> FlowMethod:
    return load_method("mean")


@pytest.fixture(scope="module")
def evaluation(mean_head: FlowMethod) -> Evaluation:
    return evaluate_synthetic(mean_head, count=COUNT, size=320, likeness=LITTLE)


def truth_of(studio: Studio, scene: Scene) -> MeasuredFace:
    return MeasuredFace.of_coefficients(studio.model, scene.coefficients, scene.camera)


def test_the_truth_measures_nothing(studio: Studio, scene: Scene) -> None:
    truth = truth_of(studio, scene)
    values, errors_mm = scene_errors(studio, truth, truth, scene)
    assert values.keys() == {metric.key for metric in METRICS}
    assert values.pop("photometric_l1") < 0.15  # shadows, gloss, grain and noise are not in the coefficients
    assert max(values.values()) < 0.01, values
    assert errors_mm.max() < 1e-3


def test_each_error_answers_to_its_own_cause(studio: Studio, scene: Scene) -> None:
    truth = truth_of(studio, scene)
    turned = replace(scene.coefficients, angles=scene.coefficients.angles + torch.tensor([[0.0, 0.0, 0.1]]))
    values, _ = scene_errors(studio, MeasuredFace.of_coefficients(studio.model, turned, scene.camera), truth, scene)
    assert values["rotation_deg"] == pytest.approx(np.degrees(0.1), abs=0.02)
    assert values["shape_mm"] < 1e-3
    assert values["nme_68"] > 1.0
    other = replace(scene.coefficients, id=-scene.coefficients.id)
    values, _ = scene_errors(studio, MeasuredFace.of_coefficients(studio.model, other, scene.camera), truth, scene)
    assert values["neutral_mm"] > 1.0
    assert values["rotation_deg"] < 0.01
    assert values["expression_rms"] == 0.0
    grown = replace(scene.coefficients, id=1.5 * scene.coefficients.id)
    values, _ = scene_errors(studio, MeasuredFace.of_coefficients(studio.model, grown, scene.camera), truth, scene)
    assert values["scaled_mm"] <= values["shape_mm"]


def test_the_mean_head_measures_itself(evaluation: Evaluation) -> None:
    result = evaluation.result
    assert result.method == "mean"
    assert len(result.cases) == COUNT
    for metric in METRICS:
        if metric.key in result.figures:
            assert value(result, metric.key) == pytest.approx(value(result, metric.key, baseline=True)), metric.key
    assert value(result, "shape_mm") > 1.0
    assert "gain_over_mean_head" not in result.figures
    assert result.protocol["first_seed"] == HELD_OUT_SEED
    assert evaluation.heat is not None
    found = [case for case in result.cases if case.values]
    assert len(evaluation.worst) == len(found)
    assert value(result, "faces_not_found") == pytest.approx(100.0 * (COUNT - len(found)) / COUNT)
    assert value(result, "identity_wander") == pytest.approx(0.0, abs=1e-3)  # one head for every frame


def test_the_same_seeds_are_the_same_data(mean_head: FlowMethod, evaluation: Evaluation) -> None:
    nothing = LikenessPlan(0, 0, 0, 0, False, 0, 0)
    again = evaluate_synthetic(mean_head, count=COUNT, size=320, likeness=nothing)
    plain = evaluate_synthetic(mean_head, count=1, likeness=nothing, scenes="plain").result
    assert plain.protocol["name"] == "synthetic-plain-1"
    assert plain.protocol["picture_px"] == 400
    assert plain.cases[0].strata["occlusion"] == "clear"
    assert again.result.data_sha256 == evaluation.result.data_sha256
    assert [c.values for c in again.result.cases] == [c.values for c in evaluation.result.cases]


def test_training_seeds_and_other_models_are_refused(mean_head: FlowMethod, toy_model: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match="for training"):
        evaluate_synthetic(mean_head, count=1, first_seed=5)
    other = FlowMethod("fit", fit_flow(toy_model, mean_head.flow.detector))
    with pytest.raises(BenchmarkError, match="face model 'open'"):
        evaluate_synthetic(other, count=1)


def test_reports_hold_everything_and_read_back(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write_report(evaluation, tmp_path)
    assert {path.name for path in written} == {"result.json", "report.md", "report.html", "worst.png", "error_map.png"}
    back = read_result(tmp_path / "result.json")
    assert back.figures.keys() == evaluation.result.figures.keys()
    assert [c.name for c in back.cases] == [c.name for c in evaluation.result.cases]
    assert back.protocol["name"] == "synthetic-1"
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("data:image/jpeg;base64") == 2
    assert "http://" not in page
    assert "https://" not in page  # nothing is loaded from elsewhere
    text = (tmp_path / "report.md").read_text()
    for heading in ("## Figures", "## By yaw", "## By light", "## By occlusion", "## By resolution", "## Protocol"):
        assert heading in text


class _Oracle(KnownMethod):
    """Knows every synthetic scene by its picture."""

    def find(self, photo: Photo, near: torch.Tensor | None = None) -> FaceDetection:
        return FaceDetection(torch.tensor([0.0, 0, 1, 1]), 1.0, torch.zeros(5, 2))

    def estimate(self, photo: Photo, detection: FaceDetection) -> MeasuredFace:
        return self.answers[photo.path]  # pyright: ignore[reportReturnType] - filled while the pictures are taken


def test_a_perfect_method_passes_every_likeness_test(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pictures are taken, none is looked at."""
    from facewright.evaluate.benchmarks import likeness

    known: dict[str, MeasuredFace] = {}

    def remembered(studio: Studio, plan: object) -> Scene:
        scene = photograph(studio, plan, oversampling=1)  # pyright: ignore[reportArgumentType]
        name = f"{scene.photo.path}-{len(known)}"
        known[name] = truth_of(studio, scene)
        return replace(scene, photo=Photo(scene.photo.pixels, name))

    monkeypatch.setattr(likeness, "photograph", remembered)
    plan = LikenessPlan(mirrored=0, people=2, album=2, expressions=2, turns=True, clips=1, frames=3)
    recorder = CaseRecorder("synthetic", "", {"name": "synthetic-1"}, METRICS)
    method = _Oracle(studio.model, known)  # pyright: ignore[reportArgumentType]
    figures = {k: f.value for k, f in likeness_figures(method, studio, plan, [], silent, recorder).items()}
    assert figures["same_person_auc"] == 1.0
    assert figures["within_over_between"] == pytest.approx(0.0, abs=1e-6)
    assert figures["expression_leak_variance"] == pytest.approx(0.0, abs=1e-9)
    assert figures["identity_drift_turned_60_to_90"] == pytest.approx(0.0, abs=1e-6)
    assert figures["jitter_landmarks"] == pytest.approx(0.0, abs=0.01)
    assert figures["jitter_expression"] == pytest.approx(0.0, abs=1e-6)
    assert figures["identity_wander"] == pytest.approx(0.0, abs=1e-9)


def test_mirror_partners_are_a_pairing() -> None:
    assert np.array_equal(MIRROR_68[MIRROR_68], np.arange(68))
    model: FaceModel = open_studio().model
    marks = model.mean_shape[model.annotations.ibug68]
    mirrored = marks[torch.from_numpy(MIRROR_68)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(marks, mirrored, atol=1e-3, rtol=0)


@pytest.mark.slow
def test_the_fit_beats_the_mean_head() -> None:
    result = evaluate_synthetic(load_method("fit"), count=20, likeness=LITTLE).result
    gain = result.figures["gain_over_mean_head"]
    assert gain.low is not None
    assert gain.low > 10.0
    assert value(result, "nme_68") < value(result, "nme_68", baseline=True)
