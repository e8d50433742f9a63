"""The house itself: who may import whom, what is public, what is documented, what must not be in the tree."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

import facewright
from facewright.export.formats import FORMATS

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "facewright"

# Lower lines know nothing of higher ones; rooms on one line know nothing of each other.
FLOORS = (
    ("errors",),
    ("records", "bounds"),
    ("files", "provenance", "untrusted", "compiled", "workers"),
    ("geometry", "photo", "assets", "inference"),
    ("detect", "align", "regress", "morphable", "render", "export"),
    ("fit",),
    ("pipeline",),
    ("synthetic",),
    ("evaluate",),
    ("train", "apps"),
    ("viewer", "serve", "scale"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "types", "tools", "lib"}
PRINTING_ROOMS = {"cli"}

# What `import facewright` offers, in the order of the flow. A name is added here when it is meant to stay.
PUBLIC_NAMES = [
    "Reconstruction",
    "Failure",
    "Reconstructor",
    "load_reconstructor",
    "reconstruct",
    "Photo",
    "photo_from_array",
    "read_photo",
    "FaceDetection",
    "detect_faces",
    "load_face_detector",
    "AlignedFace",
    "align_face",
    "Evidence",
    "FitPlan",
    "FitSettings",
    "fit_face",
    "FaceCoefficients",
    "FaceMesh",
    "FaceModel",
    "load_face_model",
    "Camera",
    "Rendering",
    "render",
    "MeshAsset",
    "export_mesh",
    "FacewrightError",
    "NoFaceFoundError",
]

# Licensed face models, official weights and tables of both: never in the tree, under any of their names.
LICENSED_NAMES = re.compile(
    r"01_MorphableModel|Exp_Pca|BFM_model_front|BFM_(exp|front)_idx|select_vertex_id|facemodel_info|similarity_Lm3D"
    r"|std_exp|BFM_UV|model20(17|19)-1|generic_model|^FLAME|^flame20|FaceReconModel|^epoch_\d|net_recon|ms1mv3|arcface"
    r"|w600k|face_model\.npy|resnet50-0676ba61|FaceWarehouse",
    re.IGNORECASE,
)
READERS = {".py", ".md"}  # code and pages about such files may bear their names
BINARY_SUFFIXES = {".mat", ".pkl", ".pickle", ".h5", ".hdf5", ".pth", ".pt", ".pb", ".ckpt", ".tflite", ".onnx", ".bin"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def tracked_files() -> list[Path]:
    """What belongs to the project: the files git knows, or in an unpacked archive everything but hidden folders."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
    inside = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in inside if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the written name of what it calls."""
    return ((ast.unparse(node.func), node) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call))


def called_in(tree: ast.AST) -> set[str]:
    """Written names of what is called in a part of a module."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Rooms that a module imports, anywhere in it, with the line."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "facewright":
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facewright."):
            yield str(node.module).split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.split(".")[1], node.lineno) for alias in node.names if alias.name.startswith("facewright.")
            )


def assert_nowhere(problems: Callable[[Path], Iterator[str]]) -> None:
    """No module has a problem; those that have are all named."""
    found = [f"{path.relative_to(SOURCE)}: {problem}" for path in modules() for problem in problems(path)]
    assert not found, "\n".join(found)


# ------------------------------------------------------------------------------------------------------- rooms


def test_every_room_has_its_floor() -> None:
    rooms = {room_of(path) for path in modules()} - {"__init__"}
    assert rooms <= FLOOR_OF.keys(), f"unknown rooms: {rooms - FLOOR_OF.keys()}"


def test_imports_go_down_only() -> None:
    def upward(path: Path) -> Iterator[str]:
        room = room_of(path)
        if room == "__init__":
            return  # the package's front: it names what is public from any room
        for other, line in imports_of(path):
            if other != room and FLOOR_OF.get(other, len(FLOORS)) >= FLOOR_OF[room]:
                yield f"line {line}: {room} imports {other}"

    assert_nowhere(upward)


def test_the_import_rule_can_fail(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import facewright.render.renderer\nfrom facewright import fit\nfrom facewright.align import x\n")
    assert [room for room, _ in imports_of(module)] == ["render", "fit", "align"]


def for_types_alone(tree: ast.Module) -> set[ast.AST]:
    """What stands under ``if TYPE_CHECKING:`` and never runs."""
    guards = (node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    return {inside for guard in guards for statement in guard.body for inside in ast.walk(statement)}


def modules_imported_by(path: Path, known: set[str]) -> set[str]:
    """Modules that a module imports by name, anywhere in it; not the packages on the way to them."""
    tree = parsed(path)
    never_run = for_types_alone(tree)
    found = set()
    for node in ast.walk(tree):
        if node in never_run:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in inside}
    return found & known


def circles() -> list[str]:
    """Groups of modules each of which needs, in the end, all the others."""
    paths = {".".join(("facewright", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in modules()}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    names = sorted(paths)
    imported = {name: modules_imported_by(path, set(names)) for name, path in paths.items()}
    graph = np.array([[other in imported[name] for other in names] for name in names])
    _, group = connected_components(csr_matrix(graph), connection="strong")
    together = (np.flatnonzero(group == number) for number in np.flatnonzero(np.bincount(group) > 1))
    return [" <-> ".join(names[k] for k in some) for some in together]


def test_modules_do_not_go_in_circles() -> None:
    """An import inside a function counts too: it hides the circle from Python, not from a reader."""
    assert not circles(), "\n".join(circles())


@pytest.mark.parametrize(
    ("first", "circle"),
    [
        ("import facewright.geometry.second", True),
        ("from facewright.geometry import second", True),
        ("def late() -> None:\n    from facewright.geometry.second import x", True),
        ("if TYPE_CHECKING:\n    from facewright.geometry.second import x", False),
        ("from facewright.geometry.third import x", False),
    ],
)
def test_the_rule_of_circles_can_fail(
    first: str, circle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "geometry").mkdir()
    texts = {"__init__": "", "first": first, "second": "from facewright.geometry.first import x", "third": ""}
    for name, text in texts.items():
        (tmp_path / "geometry" / f"{name}.py").write_text(text)
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    expected = ["facewright.geometry.first <-> facewright.geometry.second"] if circle else []
    assert circles() == expected


def classes_by_name() -> dict[str, list[str]]:
    """Public class -> the modules that define one of that name."""
    found: dict[str, list[str]] = {}
    for path in modules():
        for name, node in public_definitions(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    return found


def test_a_class_s_name_means_one_thing() -> None:
    twice = {name: where for name, where in classes_by_name().items() if len(where) > 1}
    assert not twice, twice


def test_the_rule_of_names_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("align", "render"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "module.py").write_text("class Recorder: ...\nclass _Own: ...\n")
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    with pytest.raises(AssertionError, match="Recorder"):
        test_a_class_s_name_means_one_thing()


def test_modules_are_named_after_what_they_do_and_stay_readable() -> None:
    def unreadable(path: Path) -> Iterator[str]:
        if BANNED_NAMES & set(path.relative_to(SOURCE).with_suffix("").parts):
            yield "a name that says nothing"
        if len(path.read_text(encoding="utf-8").splitlines()) > 500:
            yield "more than 500 lines"

    assert_nowhere(unreadable)


# --------------------------------------------------------------------------------------- what every module keeps to


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Public functions and classes of a module, and the methods of those classes (dunder methods too)."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for member in node.body:
                is_public = isinstance(member, ast.FunctionDef) and not re.match(r"_(?!_)", member.name)
                if isinstance(member, ast.FunctionDef) and is_public:
                    yield f"{node.name}.{member.name}", member


def lacks_annotation(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [extra for extra in (arguments.vararg, arguments.kwarg) if extra]
    own = {"self", "cls"}
    return function.returns is None or any(a.annotation is None for a in [*named, *starred] if a.arg not in own)


def test_what_is_public_is_annotated_and_documented() -> None:
    def undocumented(path: Path) -> Iterator[str]:
        tree = parsed(path)
        if not ast.get_docstring(tree):
            yield "no module docstring"
        for name, node in public_definitions(tree):
            if not node.name.startswith("__") and not ast.get_docstring(node):
                yield f"{name} has no docstring"
            if not isinstance(node, ast.ClassDef) and lacks_annotation(node):
                yield f"{name} lacks an annotation"

    assert_nowhere(undocumented)


def test_only_the_command_line_prints() -> None:
    writers = {"print", "pprint", "rich.print", "sys.stdout.write", "sys.stderr.write"}

    def printing(path: Path) -> Iterator[str]:
        if room_of(path) not in PRINTING_ROOMS:
            yield from (f"line {call.lineno} prints" for name, call in calls_in(path) if name in writers)

    assert_nowhere(printing)


def test_untrusted_files_are_never_unpickled() -> None:
    def trusting(path: Path) -> Iterator[str]:
        for name, call in calls_in(path):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            runs = name in {"pickle.load", "pickle.loads", "joblib.load", "eval", "exec"}
            runs |= name == "torch.load" and options.get("weights_only") != "True"
            runs |= name in {"np.load", "numpy.load"} and options.get("allow_pickle", "False") != "False"
            runs |= name == "torch.jit.load" and path.name != "torchscript.py"  # which says why it may
            if runs:
                yield f"line {call.lineno}: {name}"

    assert_nowhere(trusting)


def test_annotations_are_real_and_nothing_is_global() -> None:
    def unreal(path: Path) -> Iterator[str]:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Global):
                yield f"line {node.lineno}: a global variable is assigned"
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                yield "shapes in annotations must be real objects to be checked"
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"line {node.lineno}: a relative import"

    assert_nowhere(unreal)


PROCESS_WIDE = {
    "torch.set_num_threads",
    "torch.set_num_interop_threads",
    "torch.set_default_dtype",
    "torch.set_default_device",
    "np.random.seed",
    "random.seed",
    "cv2.setNumThreads",
    "numba.set_num_threads",
    "signal.signal",
    "logging.basicConfig",
    "os.chdir",
    "os.putenv",
    "os.environ.update",
    "os.environ.pop",
    "os.environ.setdefault",
    "warnings.simplefilter",
    "warnings.filterwarnings",
}
START_PROCESSES = {"train/processes.py", "workers.py"}  # whose first deeds in processes of their own are as a door's


def test_only_doors_change_the_whole_process() -> None:
    """Threads, signals, warnings, surroundings: the library is a guest in another's program.

    Filters of warnings may change where they are given back.
    """

    def meddling(path: Path) -> Iterator[str]:
        if room_of(path) in PRINTING_ROOMS or path.relative_to(SOURCE).as_posix() in START_PROCESSES:
            return
        calls = {call.lineno: name for name, call in calls_in(path) if name in PROCESS_WIDE}
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.With) and "warnings.catch_warnings()" in ast.unparse(node.items[0]):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Call) and calls.get(inner.lineno, "").startswith("warnings."):
                        del calls[inner.lineno]
            targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
            for target in targets:
                if isinstance(target, ast.Subscript) and ast.unparse(target.value) == "os.environ":
                    yield f"line {target.lineno} changes os.environ"
        yield from (f"line {line}: {name}" for line, name in calls.items())

    assert_nowhere(meddling)


def test_nothing_is_solved_by_what_gives_other_bits_from_call_to_call() -> None:
    """``torch.linalg.lstsq`` does on the CPU, for the same rows; ``pinv`` and ``solve`` do not."""

    def shaky(path: Path) -> Iterator[str]:
        yield from (f"line {call.lineno}: {name}" for name, call in calls_in(path) if name == "torch.linalg.lstsq")

    assert_nowhere(shaky)


def test_file_suffixes_are_listed_in_one_table() -> None:
    """A literal with two or more of the table's suffixes is a second table; the photo's door is free."""
    suffixes = {name for each in FORMATS.values() for name in (each.suffix, each.extension)}
    tables = {SOURCE / "export" / "formats.py", SOURCE / "photo" / "door.py"}

    def listing(path: Path) -> Iterator[str]:
        for node in ast.walk(parsed(path)):
            parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            words = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
            if isinstance(node, ast.expr) and len(words & suffixes) > 1 and path not in tables:
                yield f"line {node.lineno} lists {', '.join(sorted(words & suffixes))}"

    assert_nowhere(listing)


def test_folders_are_read_in_natural_order() -> None:
    """Frame 2 comes before frame 10 everywhere: ``files.natural_order``, never ``sorted``, of what is in a folder."""

    def by_letters(path: Path) -> Iterator[str]:
        for name, call in calls_in(path):
            inside = {name.rpartition(".")[2] for node in call.args for name in called_in(node)}
            if name == "sorted" and inside & {"glob", "rglob", "iterdir", "listdir", "scandir"}:
                yield f"line {call.lineno}: {ast.unparse(call)}"

    assert_nowhere(by_letters)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("import facewright.render.renderer", "test_imports_go_down_only"),
        ("def shown() -> None: ...", "test_what_is_public_is_annotated_and_documented"),
        ("print(1)", "test_only_the_command_line_prints"),
        ("import torch; torch.load('a', weights_only=False)", "test_untrusted_files_are_never_unpickled"),
        ("import torch; torch.set_num_threads(1)", "test_only_doors_change_the_whole_process"),
        ("import os; os.environ['A'] = '1'", "test_only_doors_change_the_whole_process"),
        ("import warnings; warnings.simplefilter('ignore')", "test_only_doors_change_the_whole_process"),
        ("from . import a", "test_annotations_are_real_and_nothing_is_global"),
        ("import torch; torch.linalg.lstsq(a, b)", "test_nothing_is_solved_by_what_gives_other_bits_from_call_to_call"),
        ("a = {'.glb': 1, '.npz': 2}", "test_file_suffixes_are_listed_in_one_table"),
        ("a = '.json', '_overlay.png'", "test_file_suffixes_are_listed_in_one_table"),
        ("from pathlib import Path\na = sorted(p for p in Path().glob('*'))", "test_folders_are_read_in_natural_order"),
        ("\n" * 501, "test_modules_are_named_after_what_they_do_and_stay_readable"),
    ],
)
def test_every_rule_can_fail(text: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "geometry").mkdir()
    (tmp_path / "geometry" / "module.py").write_text(text)
    monkeypatch.setitem(globals(), "SOURCE", tmp_path)
    with pytest.raises(AssertionError, match=r"geometry/module\.py: "):
        globals()[rule]()


# ------------------------------------------------------------------------------------------------------- public


def test_public_names_are_those_agreed_on() -> None:
    assert sorted(facewright.__all__) == sorted(PUBLIC_NAMES)
    for name in PUBLIC_NAMES:
        assert getattr(facewright, name).__doc__, f"{name} has no docstring"


def test_readme_tree_equals_the_disk() -> None:
    """Between the README's ``tree`` markers: one entry a line, two spaces of indent a level, a slash after folders."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- tree -->(.*?)<!-- /?tree -->", readme, re.DOTALL)
    assert block, "README.md has no block between <!-- tree --> and <!-- /tree -->"
    named, parents = set(), []
    for line in block.group(1).splitlines():
        entry = re.match(r"( *)([\w./-]+)(\s|$)", line)
        if entry and not line.startswith("```"):
            depth = len(entry.group(1)) // 2
            parents = [*parents[:depth], entry.group(2).rstrip("/")]
            named.add("/".join(parents))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing, f"named, but not on the disk: {missing}"
    rooms = {f"src/facewright/{p.name}" for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    rooms -= {"src/facewright/__init__.py", "src/facewright/__main__.py"}
    assert rooms <= named, f"on the disk, but not named: {sorted(rooms - named)}"


def core_modules() -> set[str]:
    """Top-level modules of the packages that facewright needs without any extra, and of those that they need."""
    wanted, found = ["facewright"], set()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # needed on other platforms only
        wanted += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]
    owners = importlib.metadata.packages_distributions()
    return {module for module, names in owners.items() if {re.sub(r"[-_.]+", "-", n).lower() for n in names} & found}


WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
blocked = set({blocked!r})

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):  # what importlib.metadata asks finders for
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in blocked else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import facewright
for module in pkgutil.walk_packages(facewright.__path__, "facewright."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from facewright.geometry.frames import crop_camera
from facewright.morphable.toy import toy_face_model
from facewright.render.renderer import render
model = toy_face_model()
zeros = model.layout.zeros()
drawn = render(model.decode(zeros), crop_camera(), zeros.sh)
assert 0.2 < float(drawn.mask.mean()) < 0.6, drawn.mask.mean()
"""


def test_everything_imports_and_draws_with_no_extra_installed() -> None:
    installed = set(importlib.metadata.packages_distributions())
    blocked = sorted(installed - core_modules())
    assert {"pytest", "numba", "h5py"} <= set(blocked)
    command = [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS.format(blocked=blocked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


# -------------------------------------------------------------------------------------------------------- the tree


def test_no_licensed_model_and_no_opaque_binary_is_in_the_tree() -> None:
    paths = tracked_files()
    assert len(paths) > 50
    assert not [str(p.relative_to(ROOT)) for p in paths if LICENSED_NAMES.search(p.name) and p.suffix not in READERS]
    assert not [str(path.relative_to(ROOT)) for path in paths if path.suffix.lower() in BINARY_SUFFIXES]
    assert not [str(path.relative_to(ROOT)) for path in paths if path.stat().st_size > 18_000_000]


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    folders = "|".join(("work", "tmp", "home", "root", "Users", "mnt", "private"))
    machine_path = re.compile(rf"(?<![\w./<~-])/({folders})/\w|\b[A-Z]:\\\\?Users")
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights
        found += [f"{path.relative_to(ROOT)}: {match.group(0)}" for match in machine_path.finditer(text)]
    assert not found, found
