"""A wrong command does nothing: exit code 2, a message that names what is wrong, no trace, no file."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.assets import embedded_path
from facewright.bounds import LARGEST
from facewright.cli import parse
from facewright.cli.checks import check_command
from facewright.cli.console import CommandError
from tests.cli.command_tree import Offered, how_many, numeric, offered
from tests.cli.conftest import Run

COMMANDS = {" ".join(command.words): command for command in offered()}
PORTRAIT = embedded_path("photos/astronaut.jpg")
SOURCE = Path(__file__).resolve().parents[2] / "src" / "facewright"


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder: empty, and the command has it only until any command begins to work."""

    def working(threads: int) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("facewright.cli.take_threads", working)
    monkeypatch.setattr("facewright.cli.train.train", working)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(run: Run, folder: Path, *arguments: str | Path) -> str:
    before = sorted(folder.rglob("*"))
    failed = run(*arguments)
    assert failed.code == 2, arguments
    assert "Traceback" not in failed.err
    assert failed.out == ""
    assert sorted(folder.rglob("*")) == before
    return " ".join(failed.err.replace("│", " ").split())


def changed(settings: Any, name: str, value: Any) -> Any:
    """The command with another value in the field of that name, however deep; None if there is none."""
    for entry in fields(settings):
        current = getattr(settings, entry.name)
        if is_dataclass(current):
            inner = changed(current, name, value)
            if inner is not None:
                return replace(settings, **{entry.name: inner})
        elif entry.name == name:
            return replace(settings, **{name: value})
    return None


def nonsense(command: Offered, option: str) -> Iterator[int | float]:
    bounds = command.bounds[option]
    kind = numeric(command.options[option])
    assert kind is not None
    if bounds.get("least", bounds.get("above", 0)) >= 0:
        yield from (kind(-1), kind(-LARGEST))
    yield from (float("nan"), float("inf"), float("-inf")) if kind is float else (2**70, 10**400)
    for edge, step in (("least", -1), ("most", 1), ("above", 0), ("below", 0)):
        if edge in bounds:
            yield kind(bounds[edge] + step)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_of_every_command_is_bounded(name: str) -> None:
    command = COMMANDS[name]
    good = parse([*command.words, *command.least])
    check_command(good)
    for option in (option for option, kind in command.options.items() if numeric(kind)):
        for value in nonsense(command, option):
            given = value if (count := how_many(command.options[option])) is None else (value,) * count
            wrong = changed(good, option.removeprefix("--").replace("-", "_"), given)
            with pytest.raises(CommandError, match=f"expected {option} "):
                check_command(wrong)


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if any(map(numeric, command.options.values()))]
)
def test_wrong_numbers_are_refused_before_any_work(name: str, run: Run, idle: Path) -> None:
    command = COMMANDS[name]
    option = next(option for option, kind in reversed(command.options.items()) if numeric(kind))
    for value in ("-7", "x", str(2**70)):
        if option == "--light-from" or (numeric(command.options[option]) is float and value == str(2**70)):
            continue
        assert option in refused(run, idle, *command.words, *command.least, option, value)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_argument_is_no_path(name: str, run: Run, idle: Path) -> None:
    command = COMMANDS[name]
    texts = [option for option, kind in command.options.items() if not numeric(kind) and kind is not bool]
    lines = [[*command.words, *command.least, ""], *([*command.words, *command.least, option, ""] for option in texts)]
    lines += [[*command.words, *command.least, f"{option}="] for option in texts]
    for line in lines:
        message = refused(run, idle, *line)
        assert message.startswith("CommandError: expected something after ")
        assert "received an empty argument" in message
        assert not texts or line == lines[0] or any(option in message for option in texts)


def test_an_output_is_no_input(run: Run, idle: Path) -> None:
    (idle / "me.json").write_text("{}")
    (idle / "link.json").symlink_to(idle / "me.json")
    for out in ("me.json", idle / "me.json", "./me.json", "link.json"):
        assert "--out" in refused(run, idle, "edit", "me.json", "--out", out)
    assert "--out" in refused(run, idle, "decode", "other.json", "--face-model", "me.json", "--out", "me.json")
    assert "--out once" in refused(run, idle, "edit", "me.json", "--out", "a.glb", "a.glb")


WRONG = {
    "reconstruct": ["reconstruct"],
    "reconstruct formats": ["reconstruct", PORTRAIT, "--formats", "json", "json", "--out", "o"],
    "reconstruct no formats": ["reconstruct", PORTRAIT, "--out", "o", "--formats"],
    "reconstruct method": ["reconstruct", PORTRAIT, "--out", "o", "--method", "magic"],
    "reconstruct weights": ["reconstruct", PORTRAIT, "--out", "o", "--method", "fit", "--weights", "nonexistent"],
    "reconstruct refine": ["reconstruct", PORTRAIT, "--out", "o", "--method", "fit", "--refine", "3"],
    "reconstruct device": ["reconstruct", PORTRAIT, "--out", "o", "--device", "toaster"],
    "reconstruct landmarks": ["reconstruct", PORTRAIT, "--out", "o", "--landmarks", "nonexistent"],
    "reconstruct model": ["reconstruct", PORTRAIT, "--out", "o", "--face-model", "nonexistent.npz"],
    "edit suffixes": ["edit", "me.json", "--out", "a.glb", "b.bmp"],
    "edit both": ["edit", "me.json", "--out", "a.glb", "--neutral", "--expression-of", "b.json"],
    "edit photo": ["edit", "me.json", "--out", "a.glb", "--photo", PORTRAIT],
    "edit light": ["edit", "me.json", "--out", "a.glb", "--light-from", "0", "0", "0"],
    "decode suffix": ["decode", "me.json", "--out", "a.bmp"],
    "convert": ["convert", "--to", "now", "--out", "o"],
    "evaluate method": ["evaluate", "now", "--data", "d", "--out", "o", "--method", "magic"],
    "evaluate weights": ["evaluate", "now", "--data", "d", "--out", "o", "--method", "fit", "--weights", "x"],
    "evaluate mean": ["evaluate", "now", "--data", "d", "--out", "o", "--method", "mean", "--weights", "x"],
    "evaluate device": ["evaluate", "synthetic", "--out", "o", "--device", "toaster"],
    "evaluate files": ["evaluate", "now", "--data", "d", "--out", "o", "--predictions", ".", "--weights", "open"],
    "evaluate label": ["evaluate", "now", "--data", "d", "--out", "o", "--label", "DECA"],
    "evaluate size": ["evaluate", "synthetic", "--out", "o", "--size", "1"],
    "train preset": ["train", "rnet", "--data", "d", "--out", "o", "--preset", "nonexistent"],
    "train embedder": ["train", "rnet", "--data", "d", "--out", "o", "--embedder", "nonexistent.onnx"],
    "train config": ["train", "rnet", "--out", "o", "--config", "nonexistent.json"],
    "train device": ["train", "rnet", "--data", "d", "--out", "o", "--device", "cpu:x"],
    "train no data": ["train", "rnet", "--out", "o"],
    "prepare nothing": ["train", "prepare", "nonexistent", "--out", "o"],
    "synthesize seeds": ["train", "synthesize", "--count", "3", "--first-seed", "899999", "--out", "o"],
    "weights": ["weights", "info", "nonexistent.safetensors"],
    "model": ["model", "info", "nonexistent.npz"],
}
IGNORED = {
    "reconstruct texture": ["reconstruct", PORTRAIT, "--out", "o", "--formats", "json", "ply", "--texture-size", "512"],
    "edit size of a photo": ["edit", "me.json", "--out", "a.png", "--photo", PORTRAIT, "--size", "512"],
    "edit size of a mesh": ["edit", "me.json", "--out", "a.glb", "--size=64"],
    "edit pose": ["edit", "me.json", "--out", "a.glb", "--with-pose"],
    "edit pose, frontal": ["edit", "me.json", "--out", "a.glb", "--frontal", "--expression-of", "b", "--with-pose"],
    "convert photos": ["convert", "me.json", "--to", "now", "--out", "o", "--photos", "."],
    "now unit": ["evaluate", "now", "--data", "d", "--out", "o", "--unit-mm", "1.0"],
    "micc unit": ["evaluate", "micc", "--data", "d", "--out", "o", "--unit_mm", "10"],
    "bu3dfe unit": ["evaluate", "bu3dfe", "--data", "d", "--out", "o", "--unit-mm", "10"],
    "micc frames": ["evaluate", "micc", "--data", "d", "--out", "o", "--predictions", ".", "--frames", "3"],
    "predictions, method": ["evaluate", "now", "--data", "d", "--out", "o", "--predictions", ".", "--method", "auto"],
    "predictions, device": ["evaluate", "now", "--data", "d", "--out", "o", "--predictions", ".", "--device", "cpu"],
    "mean, refine": ["evaluate", "realy", "--data", "d", "--out", "o", "--method", "mean", "--refine", "0"],
    "likeness turns": ["evaluate", "synthetic", "--out", "o", "--people", "0", "--no-turns"],
    "likeness frames": ["evaluate", "synthetic", "--out", "o", "--clips", "0", "--frames", "3"],
    "train patience": ["train", "rnet", "--data", "d", "--out", "o", "--patience", "3"],
    "train decay": ["train", "rnet", "--data", "d", "--out", "o", "--schedule", "plateau", "--decay-every", "3"],
    "train val": ["train", "rnet", "--data", "d", "--out", "o", "--val-batches", "3"],
    "train repeats": ["train", "rnet", "--data", "d", "--out", "o", "--most-repeats", "3"],
    "train jitter": ["train", "rnet", "--data", "d", "--out", "o", "--no-jitter", "--shift", "0.1"],
    "reconstruct posed": ["reconstruct", PORTRAIT, "--out", "o", "--formats", "json", "mat", "--posed"],
    "reconstruct seen": ["reconstruct", PORTRAIT, "--out", "o", "--formats", "json", "depth", "--seen-only"],
    "swap alone": ["swap", PORTRAIT, PORTRAIT, "--out", "o", "--direction", "first"],
    "swap faces alone": ["swap", PORTRAIT, PORTRAIT, "--out", "o", "--faces", "all"],
    "swap mask": ["swap", PORTRAIT, "b.jpg", "--out", "o", "--mask", "m.png", "--part", "eyes"],
    "train inner": ["train", "rnet", "--data", "d", "--out", "o", "--coefficient", "0", "--id-weight", "0.5"],
    "train rounding": [
        "train",
        "rnet",
        "--data",
        "d",
        "--out",
        "o",
        "--photometric",
        "0",
        "--photometric-rounding",
        "0",
    ],
    "train skin": ["train", "rnet", "--data", "d", "--out", "o", "--photometric", "0", "--no-thresholded-skin"],
    "train region": ["train", "rnet", "--data", "d", "--out", "o", "--photometric", "0", "--released-region"],
    "train edges": ["train", "rnet", "--data", "d", "--out", "o", "--photometric", "0", "--no-antialiased"],
    "train offset": ["train", "rnet", "--data", "d", "--out", "o", "--landmark", "0", "--offset-landmarks"],
    "train crop": ["train", "rnet", "--data", "d", "--out", "o", "--whole-crop"],
    "train weak": [
        *("train", "rnet", "--data", "d", "--out", "o", "--photometric", "0", "--landmark", "0", "--coefficient", "0"),
        *("--gamma", "0", "--box", "0", "--weak-on-synthetic"),
    ],
    "train heads": ["train", "rnet", "--data", "d", "--out", "o", "--landmark-head"],
    "train patch": ["train", "prnet", "--data", "d", "--out", "o", "--covered", "0", "--patch", "0.2"],
    "train maps": ["train", "prnet", "--data", "d", "--out", "o", "--preset", "resfcn256", "--map-size", "128"],
    "import groups": [
        *("model", "import", "gnm", "--model", "m.npz", "--landmarks", "l.txt", "--out", "o.npz", "--keep", "skin"),
        *("--drop", "tongue"),
    ],
    "import colours": ["model", "import", "npz", "--model", "bare.npz", "--out", "o.npz", "--albedo-space", "linear"],
    "import prior": ["model", "import", "npz", "--model", "bare.npz", "--out", "o.npz", "--exp-prior", "box"],
    "train chips": ["train", "rnet", "--data", "d", "--out", "o", "--preset", "paper", "--channels", "bgr"],
}


@pytest.mark.parametrize("what", IGNORED)
def test_what_would_be_ignored_is_refused_by_name(what: str, run: Run, idle: Path) -> None:
    """Even where the value is the default: whoever gives an option wants it to do something."""
    np.savez(idle / "bare.npz", mean_shape=np.zeros((3, 3)), faces=np.array([[0, 1, 2]]))
    option = next(word for word in reversed(IGNORED[what]) if str(word).startswith("--"))
    name = str(option).partition("=")[0].replace("_", "-")
    assert f"expected {name} only " in refused(run, idle, *IGNORED[what])


def test_a_use_is_that_of_options_that_are_there() -> None:
    """Whatever is said of an option can be asked of every command that has it."""
    for command in COMMANDS.values():
        given = [word for option in command.options for word in (option, f"--no-{option[2:]}")]
        with suppress(CommandError):
            check_command(parse([*command.words, *command.least]), given)


NAMED = {
    "reconstruct": "--out", "reconstruct formats": "--formats", "reconstruct no formats": "--formats",
    "reconstruct method": "'magic'", "reconstruct weights": "'nonexistent'", "reconstruct refine": "received 3",
    "reconstruct device": "'toaster'", "reconstruct landmarks": "--landmarks", "reconstruct model": "nonexistent.npz",
    "edit suffixes": "b.bmp", "edit both": "--neutral", "edit photo": "--photo", "edit light": "--light-from",
    "decode suffix": "a.bmp", "convert": "at least one", "evaluate method": "'magic'", "evaluate weights": "'x'",
    "evaluate mean": "--weights", "evaluate device": "'toaster'", "evaluate files": "--weights",
    "evaluate label": "--label", "evaluate size": "--size", "train preset": "--preset",
    "train embedder": "nonexistent.onnx", "train config": "nonexistent.json", "train device": "--device",
    "train no data": "--data", "prepare nothing": "nonexistent", "synthesize seeds": "--first-seed 899999",
    "weights": "nonexistent.safetensors", "model": "nonexistent.npz",
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_refused_by_name(
    what: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me.json").write_text('{"faces": []}')
    assert NAMED[what] in refused(run, tmp_path, *WRONG[what])


def test_nothing_is_written_where_the_photo_is_another(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (100, 80)).save(tmp_path / "other.png")
    assert (
        run(
            "reconstruct", PORTRAIT, "--weights", "fast", "--refine", "0", "--formats", "json", "--out", tmp_path / "o"
        ).code
        == 0
    )
    arguments = ("--out", tmp_path / "a.glb", tmp_path / "b.png", "--photo", tmp_path / "other.png")
    assert "100 x 80" in refused(run, tmp_path, "edit", tmp_path / "o/astronaut.json", *arguments)


# ------------------------------------------------------------------------------------------- what messages name

GROUPS = {command.words[0] for command in COMMANDS.values() if len(command.words) > 1}
KNOWN_WORDS = {words for command in COMMANDS.values() for words in (command.words[:1], command.words[:2])}


def texts() -> Iterator[tuple[Path, str]]:
    """All texts in the source: messages, docstrings, help; parts of one message together."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield path, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def unknown_commands(text: str) -> list[str]:
    """Commands that a text names after the program's name and that are none."""
    wrong = []
    for first, second in re.findall(r"facewright ([a-z]+)(?:\s+([a-z][a-z0-9-]*))?", text):
        if first not in PROSE and (first,) not in KNOWN_WORDS:
            wrong.append(first)
        elif first in GROUPS and second and (first, second) not in KNOWN_WORDS:
            wrong.append(f"{first} {second}")
    return wrong


FOREIGN_OPTIONS = {"--porcelain", "--no-build-isolation"}
"""Of git and pip."""
PROSE = {"did", "or", "wrote"}
"""Words that follow the program's name in sentences about it."""


def test_every_command_and_option_that_a_message_names_is_there() -> None:
    options = {option for command in COMMANDS.values() for option in command.options} | {"--preset", "--help"}
    options |= {f"--no-{option.removeprefix('--')}" for option in options}
    wrong = []
    for path, text in texts():
        wrong += [f"{path.name}: facewright {name}" for name in unknown_commands(text)]
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text):
            if option not in options | FOREIGN_OPTIONS:
                wrong.append(f"{path.name}: {option}")
    assert sorted(set(wrong)) == []


def test_the_search_for_such_names_can_fail() -> None:
    assert unknown_commands("made by `facewright model convert`") == ["model convert"]
    assert unknown_commands("run facewright paint me.jpg") == ["paint"]
    assert unknown_commands("`facewright model import bfm2009`, `facewright reconstruct me.jpg`") == []
