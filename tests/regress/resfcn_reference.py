"""PRNet's published network once more, without the package: TensorFlow's names, layouts and padding, in numpy."""

from pathlib import Path

import numpy as np

from tests.regress.tensorflow_files import write_checkpoint

BLOCKS = [(32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]
LAYERS = [512, 256, 256, 256, 128, 128, 128, 64, 64, 64, 32, 32, 16, 16, 3, 3, 3]
STRIDES = [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1]


def resfcn_variables(seed: int, *, width: float) -> dict[str, np.ndarray]:
    """Random variables of the network as its checkpoint names and shapes them, with the optimiser's beside them."""
    rng = np.random.default_rng(seed)
    variables: dict[str, np.ndarray] = {}

    def kernel(name: str, size: int, first: int, second: int, inputs: int) -> None:
        spread = np.sqrt(2.0 / (size * size * inputs))
        variables[f"resfcn256/{name}/weights"] = rng.normal(0, spread, (size, size, first, second)).astype(np.float32)

    def norm(scope: str, channels: int) -> None:
        at = f"resfcn256/{scope}BatchNorm"
        variables[f"{at}/gamma"] = rng.uniform(0.6, 1.2, channels).astype(np.float32)
        variables[f"{at}/beta"] = rng.normal(0, 0.1, channels).astype(np.float32)
        variables[f"{at}/moving_mean"] = rng.normal(0, 0.1, channels).astype(np.float32)
        variables[f"{at}/moving_variance"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)

    def scaled(channels: int) -> int:
        return channels if channels == 3 else round(channels * width)

    last = scaled(16)
    kernel("Conv", 4, 3, last, 3)
    norm("Conv/", last)
    for i, (channels, _) in enumerate(BLOCKS):
        scope, channels = "resBlock" + (f"_{i}" if i else ""), scaled(channels)
        inner = channels // 2
        for name, size, a, b in (("Conv", 1, last, inner), ("Conv_1", 4, inner, inner), ("Conv_2", 1, inner, channels)):
            kernel(f"{scope}/{name}", size, a, b, a)
        if i % 2 == 0:
            kernel(f"{scope}/shortcut", 1, last, channels, last)
        norm(f"{scope}/Conv/", inner)
        norm(f"{scope}/Conv_1/", inner)
        norm(f"{scope}/", channels)
        last = channels
    for i, channels in enumerate(LAYERS):
        scope, channels = "Conv2d_transpose" + (f"_{i}" if i else ""), scaled(channels)
        kernel(scope, 4, channels, last, max(1, last // STRIDES[i] ** 2))
        norm(f"{scope}/", channels)
        last = channels
    slots = {f"{name}/Adam": np.zeros_like(v) for name, v in variables.items() if "Conv/" in name}
    scalars = {name: np.full((), 0.5, np.float32) for name in ("beta1_power", "beta2_power")}
    return variables | {name: v for name, v in slots.items() if "moving" not in name} | scalars


def same_convolution(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(height, width, in) and (k, k, in, out): window by window, as many as strides fit in, odd padding at the end."""
    size = len(kernel)
    rows, columns = (-(-side // stride) for side in x.shape[:2])
    lacks = [max((n - 1) * stride + size - side, 0) for n, side in zip((rows, columns), x.shape, strict=False)]
    padded = np.pad(x, [(lack // 2, lack - lack // 2) for lack in lacks] + [(0, 0)])
    total = np.zeros((rows, columns, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            seen = padded[i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            total += seen @ kernel[i, j]
    return total


def same_transposed(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(k, k, out, in): every pixel strews its kernel; what a convolution would have padded is cut off."""
    size = len(kernel)
    rows, columns = (side * stride for side in x.shape[:2])
    strewn = np.zeros((rows + size, columns + size, kernel.shape[2]))
    for i in range(size):
        for j in range(size):
            strewn[i : i + rows : stride, j : j + columns : stride] += x @ kernel[i, j].T
    before = (size - stride) // 2
    return strewn[before : before + rows, before : before + columns]


def resfcn_layers(variables: dict[str, np.ndarray], image: np.ndarray) -> list[np.ndarray]:
    """What comes out of the first convolution, each block and each layer, of one picture (height, width, 3), 0..1."""
    values = {name.removeprefix("resfcn256/"): value.astype(np.float64) for name, value in variables.items()}

    def normed(x: np.ndarray, scope: str) -> np.ndarray:
        mean, var = values[f"{scope}BatchNorm/moving_mean"], values[f"{scope}BatchNorm/moving_variance"]
        scaled = (x - mean) / np.sqrt(var + 1e-3) * values[f"{scope}BatchNorm/gamma"]
        return scaled + values[f"{scope}BatchNorm/beta"]

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    x = relu(normed(same_convolution(image, values["Conv/weights"], 1), "Conv/"))
    seen = [x]
    for i, (_, stride) in enumerate(BLOCKS):
        scope = "resBlock" + (f"_{i}" if i else "")
        y = relu(normed(same_convolution(x, values[f"{scope}/Conv/weights"], 1), f"{scope}/Conv/"))
        y = relu(normed(same_convolution(y, values[f"{scope}/Conv_1/weights"], stride), f"{scope}/Conv_1/"))
        y = same_convolution(y, values[f"{scope}/Conv_2/weights"], 1)
        skip = same_convolution(x, values[f"{scope}/shortcut/weights"], stride) if i % 2 == 0 else x
        x = relu(normed(y + skip, f"{scope}/"))
        seen.append(x)
    for i, stride in enumerate(STRIDES):
        scope = "Conv2d_transpose" + (f"_{i}" if i else "")
        x = normed(same_transposed(x, values[f"{scope}/weights"], stride), f"{scope}/")
        x = relu(x) if i < 16 else 1.0 / (1.0 + np.exp(-x))
        seen.append(x)
    return seen


def write_uv_data(folder: Path, *, size: int = 256) -> None:
    """Tables as they lie beside the published weights: an oval face with landmarks strewn on it, row 0 column first."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.mgrid[:size, :size] / (size - 1)
    face = np.flatnonzero(((row - 0.4) / 0.35) ** 2 + ((column - 0.5) / 0.45) ** 2 < 1)
    (folder / "face_ind.txt").write_text("".join(f"{index:.18e}\n" for index in face))
    marks = face[np.linspace(0, len(face) - 1, 68).astype(int)]
    np.savetxt(folder / "uv_kpt_ind.txt", np.stack([marks % size, marks // size]))
    points = np.stack([210 * (face % size) / (size - 1) - 105, 150 + 210 * (face // size) / (size - 1), face % 177], -1)
    np.save(folder / "canonical_vertices.npy", points.astype(np.float64))


def write_resfcn_checkpoint(folder: Path, variables: dict[str, np.ndarray]) -> Path:
    """The checkpoint and its tables, placed as in the repository that published them; the index."""
    (folder / "net-data").mkdir(parents=True)
    write_checkpoint(folder / "net-data" / "256_256_resfcn256_weight", variables)
    write_uv_data(folder / "uv-data")
    return folder / "net-data" / "256_256_resfcn256_weight.index"
