"""Checkpoints, run folders and settings on disk: whole, the newest kept, nothing executed, nothing guessed."""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from facewright.bounds import bounded, check_bounds
from facewright.errors import TrainingError
from facewright.train.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    restore_rng,
    rng_state,
    save_checkpoint,
)
from facewright.train.jitter import CropJitter
from facewright.train.rnet_settings import RUN_PRESETS, NetSettings, RNetSettings, check_rnet
from facewright.train.run import train
from facewright.train.run_folder import append_log, cut_log, open_run, read_log
from facewright.train.settings import (
    DataSettings,
    OptimizerSettings,
    TrainSettings,
    check_settings,
    differing,
    settings_from_json,
    settings_json,
)

NEGATIVE = replace(RUN_PRESETS["open"].network.objective.weak, gamma=-1.0)


def checkpoint(step: int = 7) -> Checkpoint:
    weights = {"layer": torch.arange(3.0)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return Checkpoint(step, 2, weights, {}, optimizer, rng_state(torch.device("cpu")))


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    saved = checkpoint()
    read = load_checkpoint(save_checkpoint(tmp_path, saved, keep=3))
    assert (read.step, read.skipped) == (7, 2)
    assert torch.equal(read.net["layer"], saved.net["layer"])
    assert torch.equal(read.optimizer["state"][0]["exp_avg"], torch.ones(2))
    expected = torch.rand(3)
    restore_rng(read.rng, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


def test_only_the_newest_are_kept_and_strangers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"mine")
    for step in (5, 100, 20):
        save_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000020.pt", "step_00000100.pt"]
    assert (tmp_path / "best.pt").exists()
    assert list_checkpoints(tmp_path / "nowhere") == []


class Trap:
    """What a malicious file would hold."""

    def __reduce__(self) -> tuple[Any, tuple[Path, str]]:
        return (Path.write_text, (Path("sprung"), ""))


@pytest.mark.parametrize("spoil", ["truncated", "other", "trap"])
def test_what_is_no_checkpoint_is_refused_and_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_checkpoint(tmp_path, checkpoint(), keep=1)
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    else:
        torch.save({"layer": torch.zeros(1)} if spoil == "other" else Trap(), path)
    with pytest.raises(TrainingError, match="checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "sprung").exists()


# ------------------------------------------------------------------------------------------------ run folder


def test_logs_are_cut_where_a_run_goes_on_and_where_a_line_broke_off(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for step in range(4):
        append_log(log, {"step": step, "total": float("nan") if step == 1 else 0.5, "terms": {"a": float("inf")}})
    with log.open("a") as file:
        file.write('{"step": 4, "tot')
    cut_log(log, 3)
    assert [line["step"] for line in read_log(log)] == [0, 1, 2]
    assert read_log(log)[1] == {"step": 1, "total": None, "terms": {"a": None}}
    cut_log(tmp_path / "none.jsonl", 3)


def test_a_run_folder_says_what_was_asked_for(tmp_path: Path) -> None:
    settings = replace(RUN_PRESETS["paper"], seed=3)
    folder = open_run(tmp_path / "run", settings, resume=False)
    assert settings_from_json(folder.config.read_text(), RNetSettings) == settings
    assert folder.last_checkpoint is None
    save_checkpoint(folder.checkpoints, checkpoint(40), keep=1)
    open_run(tmp_path / "run", replace(settings, steps=9, log_every=3), resume=True)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["seed"] == 3
    assert [session["from_step"] for session in facts["sessions"]] == [0, 40]
    assert all(session["commit"] for session in facts["sessions"])
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="expected a folder"):
        open_run(tmp_path / "file", settings, resume=True)


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize("name", list(RUN_PRESETS))
def test_presets_can_be_trained_and_come_back_from_json(name: Any) -> None:
    settings = RUN_PRESETS[name]
    assert settings.preset == name
    check_settings(replace(settings, data=replace(settings.data, folders=("data",))))
    check_rnet(settings.network)
    assert settings_from_json(settings_json(settings), RNetSettings) == settings
    assert differing(settings, replace(settings, steps=1, device="cuda")) == []


def test_published_presets_are_those_of_the_publications() -> None:
    """docs/deep3d.md, section 7."""
    table = {
        name: (
            s.data.batch_size,
            s.steps,
            s.optimizer.lr,
            s.network.net.backbone,
            s.network.net.crop_size,
            s.network.objective.weak.photometric,
        )
        for name, s in RUN_PRESETS.items()
    }
    assert table["paper"] == (5, 500_000, 1e-4, "resnet50", 224, 1.9)
    assert table["deng-tf"] == (16, 200_000, 1e-4, "resnet_v1_50_slim", 224, 1.92)
    assert table["deng-pytorch"] == (32, 187_500, 1e-4, "resnet50", 224, 1.92)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config: expected JSON"),
        ("[" * 100_000, "config: expected JSON"),
        ("[]", "config"),
        ('{"objektive": {}}', "expected no objektive"),
        ('{"network": {"net": {"depth": 3}}}', r"expected no depth @ config\.network\.net"),
        ('{"steps": 5}', r"expected, received none @ config\.network"),
        ('{"steps": "5"}', r"expected int, received '5' @ config\.steps"),
        ('{"steps": true}', r"expected int, received True @ config\.steps"),
        ('{"steps": 5.5}', r"expected int, received 5\.5 @ config\.steps"),
        ('{"precision": "64"}', r"64.* @ config\.precision"),
        ('{"optimizer": {"lr": "fast"}}', r"expected float, received 'fast' @ config\.optimizer\.lr"),
        ('{"data": {"shares": ["half"]}}', r"expected float, received 'half' @ config\.data\.shares"),
        ('{"data": {"folders": "half"}}', r"expected a list, received 'half' @ config\.data\.folders"),
        ('{"data": 3}', r"@ config\.data"),
    ],
)
def test_settings_that_are_not_are_refused(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        settings_from_json(text, RNetSettings, "config")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": DataSettings()}, "at least one folder as --data"),
        ({"steps": 0}, "--steps of at least 1"),
        ({"seed": 2**70}, "--seed of at least 0"),
        ({"seed": -1}, "--seed of at least 0"),
        ({"keep_checkpoints": 0}, "--keep-checkpoints of at least 1"),
        ({"data": DataSettings(("a",), (-1.0,))}, "--shares of at least 0"),
        ({"data": DataSettings(("a",), workers=-1)}, "--workers of at least 0, at most 1024; received -1"),
        ({"data": DataSettings(("a",), moves=CropJitter(mirror=1.5))}, "--mirror of at least 0, at most 1"),
        ({"data": DataSettings(("a", "b"), (0.0, 0.0))}, "--shares above 0"),
        ({"optimizer": OptimizerSettings(ema_decay=1.0)}, "--ema-decay of at least 0, below 1; received 1"),
        *(
            (
                {"optimizer": replace(OptimizerSettings(), **{name: value})},
                f"--{name.replace('_', '-')} .*; received {value}",
            )
            for name in ("lr", "backbone_lr_scale", "weight_decay", "clip_norm", "ema_decay")
            for value in (math.nan, math.inf, -1.0)
        ),
        ({"optimizer": OptimizerSettings(warmup_steps=-1)}, "--warmup-steps of at least 0"),
        ({"objective": replace(RUN_PRESETS["paper"].network.objective, embedder="")}, "an --embedder"),
        ({"objective": replace(RUN_PRESETS["paper"].network.objective, embedder="no.pt")}, "--embedder .*'no.pt'"),
        ({"objective": replace(RUN_PRESETS["open"].network.objective, embedder="dlib")}, "no --embedder"),
        ({"objective": replace(RUN_PRESETS["open"].network.objective, weak=NEGATIVE)}, "--gamma of at least 0"),
        ({"net": NetSettings("dlib_resnet29", crop_size=64)}, "at least 67 px"),
        ({"net": NetSettings(width=math.nan)}, "--width above 0, at most 8; received nan"),
        ({"net": NetSettings("abacus")}, "--backbone of"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    own = {name: changes[name] for name in ("net", "objective") if name in changes}
    general = {name: value for name, value in changes.items() if name not in own}
    start: TrainSettings[RNetSettings] = replace(RUN_PRESETS["open"], data=DataSettings(("data",)))
    settings = replace(start, network=replace(start.network, **own), **general)
    with pytest.raises(TrainingError, match=message):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_setting_of_every_preset_is_walked() -> None:
    """A number that is added later is checked too."""

    @dataclass(frozen=True)
    class Inner:
        rate: float = bounded(0.5, above=0, most=1)

    @dataclass(frozen=True)
    class Outer:
        inner: Inner = field(default_factory=Inner)
        counts: tuple[int, ...] = (1, 2)

    check_bounds(Outer())
    for wrong in (Outer(Inner(0.0)), Outer(Inner(1.5)), Outer(Inner(math.nan)), Outer(counts=(1, -2))):
        with pytest.raises(TrainingError, match=r"--rate above 0, at most 1|--counts of at least 0"):
            check_bounds(wrong, TrainingError)
    for settings in RUN_PRESETS.values():
        check_bounds(settings)


def test_batches_are_shared_evenly_among_processes() -> None:
    settings = replace(RUN_PRESETS["open"], data=DataSettings(("data",), batch_size=12), accumulate=2)
    check_settings(settings, world=3)
    with pytest.raises(TrainingError, match="4 processes with 2 accumulated parts"):
        check_settings(settings, world=4)
