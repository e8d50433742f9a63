"""Every command of every page is given, on inputs made here; those that nobody could give here are in a short table."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from facewright.cli import main, parse
from tests.docs.workshops import make_basel, make_open, make_prnet

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:facewright|pip|python|make) [^`\n]*)`")
PROGRAM = re.compile(r"(facewright|torchrun|pip|python|make|git|npm|curl) ")

# What a command begins with -> why it is not given here. Its options are still those that the program has.
NOT_GIVEN = {
    "facewright batch s3": "elsewhere, and many machines: tests/scale gives such sources and engines",
    "facewright batch shards": "likewise",
    "facewright serve": "it answers until it is ended: tests/serve/test_end_to_end.py gives it, and what asks it",
    "facewright view": "serves until it is interrupted: tests/viewer/test_viewer.py gives it",
    "facewright evaluate": "licensed data, or minutes: tests/evaluate gives them small data",
    "facewright train rnet": "hours: tests/train/test_smoke.py trains a small one",
    "facewright train prnet": "hours: tests/train/test_prnet_training.py trains a small one",
    "facewright train 3dmm-cnn": "hours: tests/train/test_morphable_training.py trains a small one",
    "facewright train labels": "people in many photos: tests/train/test_labels.py makes some",
    "facewright recognise": "people in many photos: tests/pipeline/test_morphable.py enrols and searches for some",
    "facewright weights import 3dmm_cnn": "licensed: tests/regress/test_morphable_cnn.py makes such files",
    "facewright reconstruct photos --out out --weights 3dmm_cnn": "likewise: tests/pipeline/test_morphable.py",
    "facewright train cnet": "minutes: tests/train/test_cnet_training.py trains a small one",
    "facewright train parsing": "minutes: tests/train/test_parsing_training.py trains a small one",
    "facewright train prepare-300wlp": "licensed: tests/train/test_lp300.py makes such files",
    "facewright model import bfm-face3d": "licensed: tests/train/test_lp300.py makes such files",
    "torchrun": "hours on many machines",
    "facewright weights export-onnx": "tests/regress/test_onnx_export.py writes such files and runs them",
    "facewright train prepare Deep3DFaceRecon_pytorch": "a checkout of theirs: tests/train/test_prepare.py makes one",
    "facewright train prepare Deep3DFaceReconstruction": "likewise",
    "facewright model import bfm2017": "licensed: tests/morphable/readers makes such files",
    "facewright model import bfm2019": "licensed: tests/morphable/readers makes such files",
    "facewright model import flame": "licensed: tests/morphable/readers makes such files",
    "facewright model import ict": "158 files from the network: tests/morphable/readers makes such files",
    "facewright model import gnm": "from the network: tests/morphable/readers makes such files",
}
QUICK = {
    "facewright reconstruct photos --album": ("--formats", "json", "glb", "--texture-size", "64", "--refine", "0"),
    "facewright batch": ("--weights", "fast", "--refine", "0"),
    "facewright reconstruct talk.mp4": ("--weights", "fast", "--texture-size", "32"),
    "facewright reconstruct": ("--formats", "json"),
    "facewright swap": ("--texture-size", "256"),
    "facewright train synthesize": ("--count", "1", "--workers", "1"),
    "facewright train prepare": ("--workers", "1"),
}
"""What is added to those that would take long: less of the same."""
BASEL = re.compile(r"bfm|epoch_20|deep3d\b|FaceReconModel")
"""Commands about somebody else's face model and network."""
PRNET = re.compile(r"prnet\.safetensors")
"""Commands about the published position maps."""


def commands_of(text: str) -> list[str]:
    """Lines of shell blocks, and commands in backticks that have options; without comments, continued lines as one."""
    blocks = [block for language, block in BLOCK.findall(text) if language == "bash"]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = [line for line in INLINE.findall(text) if " --" in line or not line.startswith("facewright")]
    given = [re.sub(r"\s+", " ", line.split(" #")[0]).strip() for line in [*lines, *inline]]
    return [line for line in given if line and not re.search(r"\b(test|demo)\.py", line)]  # of the official programs


def pages_of_commands() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for line in commands_of(page.read_text(encoding="utf-8")):
            found.setdefault(line, []).append(page.name)
    return found


COMMANDS = pages_of_commands()
OURS = [line for line in COMMANDS if re.match("facewright |torchrun ", line)]
GIVEN = [line for line in OURS if not line.startswith(tuple(NOT_GIVEN))]
OTHERS = [line for line in COMMANDS if line not in OURS]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder in which a command can be given, by the command; made once."""

    @cache
    def made(make: Callable[[Path], None]) -> Path:
        folder = tmp_path_factory.mktemp(make.__name__)
        make(folder)
        return folder

    def fitting(line: str) -> Path:
        return made(make_prnet if PRNET.search(line) else make_basel if BASEL.search(line) else make_open)

    return fitting


@pytest.mark.parametrize("line", GIVEN, ids=lambda line: line[11:90])
def test_commands_do_what_the_pages_say(
    line: str,
    workshop: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "talk.mp4" in line:
        pytest.importorskip("av")
    folder = shutil.copytree(workshop(line), tmp_path / "here")
    monkeypatch.chdir(folder)
    words = shlex.split(line)[1:]
    more = next((more for begin, more in QUICK.items() if line.startswith(begin)), ())
    files = [folder / word for k, word in enumerate(words) if "--out" in words[k - 1 : k] and k]
    for file in files:
        if file.exists() and file.name != "out":
            file.rename(file.with_name(f"old-{file.name}"))
    assert main([*words, *more]) == 0, f"{COMMANDS[line]}: {capsys.readouterr().err}"
    assert all(file.exists() for file in files), files


@pytest.mark.parametrize("line", [line for line in OURS if line not in GIVEN], ids=lambda line: line[:90])
def test_commands_that_are_not_given_have_options_that_exist(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    words = words[words.index("-m") + 2 :] if words[0] == "torchrun" else words[1:]
    if "--config" in words:  # what a run would have left
        (tmp_path / words[words.index("--config") + 1]).write_text(run_settings())
    try:
        parse(words)
    except SystemExit:
        pytest.fail(f"{COMMANDS[line]}: {line}\n{capsys.readouterr().err}")


def run_settings() -> str:
    from facewright.train.rnet_training import RNET_TRAINEE
    from facewright.train.settings import settings_json

    return settings_json(RNET_TRAINEE.presets["smoke"])


def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def install_is_possible(words: list[str]) -> bool:
    """From a checkout (``.``); extras of what is installed already, which pip finds there; others by their versions."""
    what = words[-1]
    if re.fullmatch(r"[\w-]+==[\d.]+", what):
        return True
    name, _, asked = what.partition("[")
    known = {extra.strip() for extra in asked.rstrip("]").split(",") if extra} <= extras()
    return known and (name == "." or (name == "facewright" and bool(asked)))


def script_is_there(words: list[str]) -> bool:
    """And it has the options; ``--no-x`` is what ``x`` makes."""
    script = ROOT / words[0]
    asked = {word.removeprefix("--").removeprefix("no-").replace("-", "_") for word in words if word.startswith("--")}
    text = script.read_text(encoding="utf-8") if script.is_file() else ""
    return bool(text) and all(re.search(rf"\b{option}\b", text) for option in asked)


def target_is_there(words: list[str]) -> bool:
    return all(re.search(rf"^{word}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for word in words)


@pytest.mark.parametrize("line", OTHERS, ids=lambda line: line[:90])
def test_other_programs_are_given_what_is_there(line: str) -> None:
    program, *words = shlex.split(line.replace("[", " ").replace("]", " ") if line.startswith("python") else line)
    if program == "pip":
        assert install_is_possible(words), COMMANDS[line]
    elif program == "python":
        assert script_is_there(words), COMMANDS[line]
    elif program == "make":
        assert target_is_there(words), COMMANDS[line]
    elif program == "curl":
        assert COMMANDS[line] == ["service.md"], COMMANDS[line]  # whose lines tests/serve/test_end_to_end.py gives
    else:
        assert program in ("git", "cd", "npm"), COMMANDS[line]


def test_pip_is_never_asked_for_what_is_on_no_index() -> None:
    assert not install_is_possible(["install", "facewright"])
    assert not install_is_possible(["install", ".[nonsense]"])
    assert install_is_possible(["install", ".[fast,train]"])


def test_commands_are_found() -> None:
    page = (
        "`facewright model info`, `facewright decode a --out b`:\n```bash\nmake \\\n  demo # x\n```\n```text\na\n```\n"
    )
    assert commands_of(page) == ["make demo", "facewright decode a --out b"]
    assert len(GIVEN) > 25
    assert all(any(line.startswith(begin) for line in OURS) for begin in NOT_GIVEN)  # none that has become needless


def test_blocks_of_commands_are_marked_as_such() -> None:
    """Else nobody would give them here."""
    for page in PAGES:
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            assert language in ("bash", "python") or not PROGRAM.match(block), f"{page.name}: {block}"
