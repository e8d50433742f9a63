"""The loop: one step is one step however it is split, what is not finite is skipped, whatever stops goes on."""

import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from facewright.errors import MissingExtraError, TrainingError
from facewright.morphable.container import save_face_model
from facewright.morphable.linear import FaceModel
from facewright.regress.backbones import BACKBONES
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.rnet import RNetPrediction
from facewright.regress.weights import describe_weights, load_weights
from facewright.train.loop import Training
from facewright.train.losses.supervised import SUPERVISED_TERMS
from facewright.train.objective import make_objective
from facewright.train.plateau import Plateau
from facewright.train.recorder import LoggedStep
from facewright.train.rnet_settings import NO_TRUTH, RUN_PRESETS, NetSettings, ObjectiveSettings, RNetSettings
from facewright.train.rnet_training import RNetCourse
from facewright.train.run import make_fabric, train
from facewright.train.run_folder import RunFolder, read_log
from facewright.train.samples import DataCard, TrainingBatch
from facewright.train.schedules import ema_decay_at, lr_factor, update_average
from facewright.train.seen_points import seen_points
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings
from facewright.train.starts import start_net
from tests.train.pictures import ToyStream, draw_batch, some_faces

SIZE = 40
WITHOUT_PIXELS = replace(RUN_PRESETS["open"].network.objective.weak, photometric=0.0)
CARDS = [DataCard("photographs", source="toy heads")]


@pytest.fixture(scope="module")
def toy_file(toy_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "toy.npz"
    save_face_model(toy_model, path)
    return str(path)


@pytest.fixture(autouse=True)
def _tiny_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trunk without norms over the batch: parts of a batch do not know of each other."""
    monkeypatch.setitem(BACKBONES, "tiny", lambda width: DlibTrunk(2, width=width))


def small_run(toy_file: str, **changes: Any) -> TrainSettings[RNetSettings]:
    own = {name: changes.pop(name) for name in ("net", "objective") if name in changes}
    network = RNetSettings(
        ObjectiveSettings(WITHOUT_PIXELS),
        face_model=toy_file,
        net=NetSettings("tiny", width=0.125, crop_size=SIZE, landmark_head=True),
    )
    settings = TrainSettings(
        replace(network, **own),
        trainee="rnet",
        preset="none",
        data=DataSettings(("toy",), batch_size=8),
        optimizer=OptimizerSettings("adamw", lr=1e-3, weight_decay=0.01, clip_norm=5.0, ema_decay=0.9),
        steps=6,
        device="cpu",
        log_every=1,
        sheet_every=0,
        checkpoint_every=3,
    )
    return replace(settings, **changes)


def losses_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [
        {name: value for name, value in line.items() if name != "images_per_second"} for line in read_log(folder.log)
    ]


def training(settings: TrainSettings[RNetSettings], model: FaceModel) -> Training:
    goal = settings.network.objective
    objective = make_objective(model, SIZE, weak=goal.weak, supervised=goal.supervised)
    net = start_net(model, architecture="tiny", width=0.125, crop_size=SIZE, landmark_head=True)
    course = RNetCourse(net, objective)
    return Training(
        make_fabric(settings), course, settings.optimizer, steps=settings.steps, accumulate=settings.accumulate
    )


def predict(run: Training, crops: torch.Tensor) -> RNetPrediction:
    """By the network under training, in the run's precision."""
    assert isinstance(run.course, RNetCourse)
    return run.course.prediction(run.module(crops))


# ------------------------------------------------------------------------------------------------ runs


def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(
    toy_model: FaceModel, toy_file: str, tmp_path: Path
) -> None:
    """Killed after step 4, resumed from the checkpoint after step 2: the same losses and weights, to the bit."""
    settings, stream = small_run(toy_file), ToyStream(toy_model, SIZE)
    unbroken = train(settings, tmp_path / "unbroken", source=stream, cards=CARDS)

    class Killed(Exception):
        pass

    def die(logged: LoggedStep) -> None:
        if logged.report.step == 4:
            raise Killed

    with pytest.raises(Killed):
        train(settings, tmp_path / "broken", source=stream, cards=CARDS, on_log=die)
    torch.rand(7)  # whatever happened to the dice in between
    resumed = train(settings, tmp_path / "broken", source=stream, cards=CARDS, resume=True)
    assert losses_of(resumed) == losses_of(unbroken)
    assert [line["step"] for line in losses_of(resumed)] == list(range(6))
    first, second = (load_weights(folder.weights).state_dict() for folder in (unbroken, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_run_leaves_weights_that_load_and_say_where_they_come_from(
    toy_model: FaceModel, toy_file: str, tmp_path: Path
) -> None:
    settings = small_run(toy_file, steps=2, seed=5)
    folder = train(settings, tmp_path / "run", source=ToyStream(toy_model, SIZE), cards=CARDS)
    card = describe_weights(folder.weights)
    assert (card["face_model"], card["training_data"], card["seed"]) == ("toy", "100% toy heads", 5)
    assert card["commit"]
    assert "2 steps of 8" in card["recipe"]
    net = load_weights(folder.weights, layout=toy_model.layout, face_model="toy")
    assert all(bool(value.isfinite().all()) for value in net.state_dict().values())


def test_two_processes_train_as_one(toy_model: FaceModel, toy_file: str, tmp_path: Path) -> None:
    """Gloo on this machine, with accumulation in each process besides; the same losses up to the order of sums."""
    settings = small_run(toy_file, steps=3, accumulate=2)
    alone = train(settings, tmp_path / "one", source=ToyStream(toy_model, SIZE), cards=CARDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=_one_of_two, args=(rank, port, settings, tmp_path / "two", toy_model)) for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    together = RunFolder(tmp_path / "two")
    for one, two in zip(losses_of(alone), losses_of(together), strict=True):
        assert one["terms"].keys() == two["terms"].keys()
        assert two["total"] == pytest.approx(one["total"], rel=1e-5)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
        assert two["terms"] == pytest.approx(one["terms"], rel=1e-4)
    first, second = (load_weights(folder.weights).state_dict() for folder in (alone, together))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=2e-5)


def _one_of_two(rank: int, port: int, settings: TrainSettings[RNetSettings], out: Path, model: FaceModel) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"GROUP_RANK": "0", "GLOO_SOCKET_IFNAME": "lo"}
    train(settings, out, source=ToyStream(model, SIZE, rank=rank, world=2), cards=CARDS)


# ------------------------------------------------------------------------------------------------ steps


def test_accumulated_parts_are_the_whole_batch(toy_model: FaceModel, toy_file: str) -> None:
    batch = ToyStream(toy_model, SIZE).batch(0)
    whole = training(small_run(toy_file), toy_model)
    parts = training(small_run(toy_file, accumulate=4), toy_model)
    first, second = whole.take_step(batch), parts.take_step(batch)
    assert second.total == pytest.approx(first.total, rel=1e-5)
    assert second.terms == pytest.approx(first.terms, rel=1e-5)
    assert second.gradient_norm == pytest.approx(first.gradient_norm, rel=1e-4)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(
    toy_model: FaceModel, toy_file: str, tmp_path: Path
) -> None:
    """With batch norm, whose statistics a spoilt picture would spoil for ever."""

    class Spoilt(ToyStream):
        def batch(self, step: int) -> TrainingBatch:
            batch = super().batch(step)
            return replace(batch, crops=batch.crops * float("nan")) if step == 1 else batch

    settings = small_run(
        toy_file,
        net=NetSettings("resnet18", width=0.125, crop_size=SIZE),
        objective=ObjectiveSettings(replace(WITHOUT_PIXELS, photometric=1.0)),
        steps=4,
    )
    seen: list[LoggedStep] = []
    folder = train(settings, tmp_path / "run", source=Spoilt(toy_model, SIZE), cards=CARDS, on_log=seen.append)
    assert [logged.report.finite for logged in seen] == [True, False, True, True]
    assert [line["skipped"] for line in read_log(folder.log)] == [0, 1, 1, 1]
    assert read_log(folder.log)[1]["total"] is None
    assert all(bool(value.isfinite().all()) for value in load_weights(folder.weights).state_dict().values())


def test_a_skipped_step_leaves_weights_optimiser_and_average_as_they_were(toy_model: FaceModel, toy_file: str) -> None:
    batch, run = ToyStream(toy_model, SIZE).batch(0), training(small_run(toy_file), toy_model)
    run.take_step(batch)
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    average = {name: value.clone() for name, value in run.result.state_dict().items()}
    moments = run.checkpoint().optimizer["state"][0]["exp_avg"].clone()
    report = run.take_step(replace(batch, landmarks=batch.landmarks / 0.0))
    assert not report.finite
    assert (run.step, run.skipped) == (2, 1)
    assert all(torch.equal(value, before[name]) for name, value in run.net.state_dict().items())
    assert all(torch.equal(value, average[name]) for name, value in run.result.state_dict().items())
    assert torch.equal(run.checkpoint().optimizer["state"][0]["exp_avg"], moments)


def test_trunk_and_heads_have_their_own_rates_and_norms_are_not_decayed(toy_model: FaceModel, toy_file: str) -> None:
    settings = small_run(toy_file)
    slow = replace(settings, optimizer=replace(settings.optimizer, backbone_lr_scale=0.0, weight_decay=0.5))
    run = training(slow, toy_model)
    start = {name: value.clone() for name, value in run.net.state_dict().items()}
    run.take_step(ToyStream(toy_model, SIZE).batch(0))
    moved = {name for name, value in run.net.state_dict().items() if not torch.equal(value, start[name])}
    assert moved
    assert not any(name.startswith("backbone.") for name in moved)
    decays = {group["weight_decay"] for group in run.optimizer.param_groups if group["params"][0].dim() == 1}
    assert decays == {0.0}


def test_bf16_trains_and_losses_stay_float32(toy_model: FaceModel, toy_file: str) -> None:
    batch = ToyStream(toy_model, SIZE).batch(0)
    full, half = (training(small_run(toy_file, precision=p), toy_model) for p in ("32", "bf16-mixed"))
    for _ in range(3):
        exact, rounded = full.take_step(batch), half.take_step(batch)
    assert predict(half, batch.crops).coefficients.id.dtype == torch.float32
    assert rounded.total != exact.total
    assert rounded.total == pytest.approx(exact.total, rel=0.05)


def test_a_network_learns_one_picture_from_its_pixels_alone(toy_model: FaceModel, toy_file: str) -> None:
    """No points, no truth, no priors."""
    pixels = replace(WITHOUT_PIXELS, photometric=1.0, landmark=0.0, coefficient=0.0, gamma=0.0)
    settings = small_run(toy_file, objective=ObjectiveSettings(pixels, NO_TRUTH), steps=100)
    run = training(replace(settings, optimizer=OptimizerSettings("adam", lr=3e-3, schedule="cosine")), toy_model)
    faces = some_faces(toy_model, 1, seed=3)  # turned by 14 degrees
    batch = draw_batch(toy_model, faces, SIZE, torch.tensor([False]))
    course = [run.take_step(batch).terms["weak/photometric"] for _ in range(100)]
    assert course[-1] < 0.12 * course[0]
    torch.testing.assert_close(predict(run, batch.crops).coefficients.angles, faces.angles, atol=0.01, rtol=0)


# ------------------------------------------------------------------------------------------------ schedules


def test_averages_follow_their_formula() -> None:
    average, present = [torch.tensor([1.0, 2.0]), torch.tensor(3)], [torch.tensor([2.0, 0.0]), torch.tensor(7)]
    update_average(average, present, 0.75)
    torch.testing.assert_close(average[0], torch.tensor([1.25, 1.5]))
    assert int(average[1]) == 7  # counters are copied
    assert ema_decay_at(0, 0.999) == pytest.approx(0.1)
    assert ema_decay_at(90, 0.999) == pytest.approx(0.91)
    assert ema_decay_at(10**6, 0.999) == 0.999


def test_the_averaged_network_is_that_of_all_steps(toy_model: FaceModel, toy_file: str) -> None:
    run, expected = training(small_run(toy_file), toy_model), None
    for step in range(4):
        before = run.net.get_parameter("heads.id.weight").detach().clone() if expected is None else expected
        run.take_step(ToyStream(toy_model, SIZE).batch(step))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * before + (1 - decay) * run.net.get_parameter("heads.id.weight").detach()
    assert expected is not None
    torch.testing.assert_close(run.result.get_parameter("heads.id.weight"), expected)


def test_learning_rates_are_those_of_the_schedules() -> None:
    cosine = [lr_factor(step, schedule="cosine", steps=110, warmup_steps=10) for step in (0, 4, 9, 10, 60, 110, 200)]
    assert cosine == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0])
    line = [lr_factor(step, schedule="linear", steps=110, warmup_steps=10) for step in (0, 9, 10, 35, 110, 200)]
    assert line == pytest.approx([0.1, 1.0, 1.0, 0.75, 0.0, 0.0])
    published = RUN_PRESETS["deng-tf"].optimizer
    factors = [
        lr_factor(
            step,
            schedule=published.schedule,
            steps=200_000,
            decay_every=published.decay_every,
            decay_factor=published.decay_factor,
        )
        for step in (0, 99_999, 100_000, 199_999)
    ]
    assert [published.lr * factor for factor in factors] == pytest.approx([1e-4, 1e-4, 2e-5, 2e-5])
    assert lr_factor(12345, schedule="constant", steps=1) == 1.0
    assert lr_factor(7, schedule="plateau", steps=9, decay_factor=0.2, drops=2) == pytest.approx(0.04)


def test_a_plateau_is_counted_as_torch_counts() -> None:
    losses = [5.0, 4.0, 3.99, 4.1, 3.98, 3.0, 2.99, 2.985, float("nan"), 2.98, 2.9, 2.9, 2.9, 2.9, 2.9]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=0.01)
    ours, drops = Plateau(), []
    for loss in losses:
        theirs.step(loss)
        ours = ours.after(loss, patience=2, least_gain=0.01)
        drops.append(ours.drops)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5**ours.drops)
    assert drops == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    worse = Plateau(best=-1.0).after(-1.005, patience=0, least_gain=0.01)  # losses may be negative
    assert (worse.best, worse.drops) == (-1.0, 1)


# ------------------------------------------------------------------------------------------------ refusals


def test_a_folder_that_is_taken_is_refused_and_so_is_resuming_with_other_settings(
    toy_model: FaceModel, toy_file: str, tmp_path: Path
) -> None:
    settings, stream = small_run(toy_file, steps=1), ToyStream(toy_model, SIZE)
    train(settings, tmp_path / "run", source=stream, cards=CARDS)
    with pytest.raises(TrainingError, match="go on there with --resume"):
        train(settings, tmp_path / "run", source=stream, cards=CARDS)
    other = replace(settings, seed=1, optimizer=replace(settings.optimizer, lr=2e-3))
    with pytest.raises(TrainingError, match=r"trained with other settings \(optimizer\.lr, seed\)"):
        train(other, tmp_path / "run", source=stream, cards=CARDS, resume=True)
    longer = train(replace(settings, steps=2), tmp_path / "run", source=stream, cards=CARDS, resume=True)
    assert len(read_log(longer.log)) == 2


def test_data_of_another_face_model_or_template_is_refused(toy_model: FaceModel, toy_file: str, tmp_path: Path) -> None:
    settings, stream = small_run(toy_file, data=DataSettings(("a", "b"), batch_size=8)), ToyStream(toy_model, SIZE)
    other = DataCard("synthetic", face_model="open", layout=toy_model.layout)
    with pytest.raises(TrainingError, match="a holds truth for face model 'open'"):
        train(settings, tmp_path / "run", source=stream, cards=[other, *CARDS])
    older = DataCard("synthetic", face_model="toy", face_model_edition=2, layout=toy_model.layout)
    with pytest.raises(TrainingError, match=r"'toy', edition 2, .*'toy', edition 1, .*make the data again"):
        train(settings, tmp_path / "run", source=stream, cards=[older, *CARDS])
    strange = DataCard("photographs", template="another-crop")
    with pytest.raises(TrainingError, match="one crop template, received another-crop, deep3d-five-102"):
        train(settings, tmp_path / "run", source=stream, cards=[*CARDS, strange])


def test_a_missing_extra_is_named(toy_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[train\]'"):
        train(small_run(toy_file), tmp_path / "run")


def test_a_device_that_is_not_there_is_refused(toy_file: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--device of auto, cpu or cuda"):
        train(small_run(toy_file, device="abacus"), tmp_path / "run")


def test_a_run_of_the_open_recipe_learns_every_term_and_states_what_it_sees(
    toy_model: FaceModel, toy_file: str, tmp_path: Path
) -> None:
    """Dense points, doubts, people and mirrors, together."""
    wanted = RUN_PRESETS["open"].network.objective.supervised
    settings = small_run(
        toy_file,
        objective=ObjectiveSettings(WITHOUT_PIXELS, wanted),
        net=NetSettings("tiny", width=0.125, crop_size=SIZE, dense_points=True),
        optimizer=OptimizerSettings("adamw", lr=5e-3, clip_norm=5.0),
        steps=24,
    )
    folder = train(settings, tmp_path / "run", source=ToyStream(toy_model, SIZE), cards=CARDS)
    log = losses_of(folder)
    names = {f"supervised/{name}" for name in SUPERVISED_TERMS if getattr(wanted, name) > 0}
    assert {name for name in log[0]["terms"] if name.startswith("supervised/")} == names
    assert sum(line["total"] for line in log[-4:]) < 0.8 * sum(line["total"] for line in log[:4])
    for name in ("points", "depth", "doubts", "skin"):
        first, last = (sum(line["terms"][f"supervised/{name}"] for line in part) for part in (log[:4], log[-4:]))
        assert last < first, name
    net = load_weights(folder.weights)
    torch.testing.assert_close(net.point_ids, seen_points(toy_model))
