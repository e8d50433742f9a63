r"""Build src/facewright/assets/detector.safetensors from the models inside the mediapipe wheel (Apache-2.0).

    pip download --no-deps --python-version 3.11 --only-binary=:all: mediapipe==0.10.14
    pip install tflite==2.18.0        # build-time only: the package never needs it; nothing of mediapipe is installed
    python scripts/convert_detector.py --mediapipe mediapipe-0.10.14-*.whl \
        --out src/facewright/assets/detector.safetensors

The networks are chains of few operators, so a model file is read as the ordered list of its convolutions and PReLUs:
the i-th of the graph fills the i-th of the torch module. Kernels go from TFLite's (out, rows, columns, in) to torch's
(out, in, rows, columns); pruned kernels are made dense. The same wheel gives the same bytes.
"""

import argparse
import hashlib
import json
import re
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from facewright.assets import embedded_path
from facewright.detect import MESH_MIRROR, FaceDetector, detect_faces
from facewright.geometry.similarity import apply_similarity, similarity_from_points
from facewright.photo import read_photo

MODELS = {
    "short": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "full": "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
    "mesh": "mediapipe/modules/face_landmark/face_landmark.tflite",
}
CONNECTIONS = "mediapipe/python/solutions/face_mesh_connections.py"
DTYPES = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}
SPARSE_VECTORS = {
    tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
    tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
    tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
}


class Graph:
    """The constants of a TFLite file's only subgraph, and its operators in order."""

    def __init__(self, content: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(content, 0)
        self.graph = self.model.Subgraphs(0)
        self.source: dict[int, int] = {}  # what a DEQUANTIZE or DENSIFY made -> what it read
        names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
        self.operators: list[tuple[str, list[int]]] = []
        for k in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(k)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            inputs = [int(i) for i in operator.InputsAsNumpy()]
            if name in ("DEQUANTIZE", "DENSIFY"):
                self.source[int(operator.Outputs(0))] = inputs[0]
            else:
                self.operators.append((name, inputs))

    def constant(self, index: int) -> NDArray[np.floating]:
        """A weight, dense, in its stored type."""
        while index in self.source:
            index = self.source[index]
        tensor = self.graph.Tensors(index)
        shape = tuple(int(n) for n in tensor.ShapeAsNumpy())
        content = self.model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        values = np.frombuffer(content, DTYPES[tensor.Type()])
        return values.reshape(shape) if tensor.Sparsity() is None else densified(values, shape, tensor.Sparsity())

    def layers(self) -> list[list[NDArray[np.floating]]]:
        """Parameters of every convolution (kernel, bias) and PReLU (slope) in graph order, in torch's layout."""
        found = []
        for operator, inputs in self.operators:
            if operator == "CONV_2D":  # (out, h, w, in)
                found.append([self.constant(inputs[1]).transpose(0, 3, 1, 2), self.constant(inputs[2])])
            elif operator == "DEPTHWISE_CONV_2D":  # (1, h, w, channels)
                found.append([self.constant(inputs[1]).transpose(3, 0, 1, 2), self.constant(inputs[2])])
            elif operator == "PRELU":
                found.append([self.constant(inputs[1]).reshape(-1)])
        return found


def densified(
    values: NDArray[np.floating], shape: tuple[int, ...], sparsity: "tflite.SparsityParameters"
) -> NDArray[np.floating]:
    """Undo TFLite's block-sparse coding (TFLite schema, SparsityParameters).

    The tensor is stored as a tree: level d walks dimension ``TraversalOrder(d)``, either through all of its entries
    (dense) or through the listed ones (CSR). Dimensions past the tensor's rank count inside blocks of ``BlockMap``.
    """
    rank = len(shape)
    order = [int(d) for d in sparsity.TraversalOrderAsNumpy()]
    block_map = [int(d) for d in sparsity.BlockMapAsNumpy()] if sparsity.BlockMapLength() else []
    levels = [sparsity.DimMetadata(d) for d in range(len(order))]
    nodes = [(0,) * len(order)]  # coordinates, by dimension, of the nodes of the level reached so far
    for level, dimension in zip(levels, order, strict=True):
        if level.Format() == tflite.DimensionType.DENSE:
            children = list(product(range(len(nodes)), range(level.DenseSize())))
        else:
            segments, indices = sparse_vector(level, "Segments"), sparse_vector(level, "Indices")
            children = [
                (n, int(indices[i])) for n in range(len(nodes)) for i in range(int(segments[n]), int(segments[n + 1]))
            ]
        nodes = [(*nodes[n][:dimension], k, *nodes[n][dimension + 1 :]) for n, k in children]
    place = np.array(nodes)
    for inside, dimension in enumerate(block_map):
        place[:, dimension] *= levels[order.index(rank + inside)].DenseSize()
        place[:, dimension] += place[:, rank + inside]
    dense = np.zeros(shape, values.dtype)
    dense[tuple(place[:, :rank].T)] = values
    return dense


def sparse_vector(level: "tflite.DimensionMetadata", which: str) -> NDArray[np.integer]:
    """Row offsets (Segments) or column ids (Indices) of a CSR level, whatever integer type they are stored in."""
    table = getattr(level, f"Array{which}")()
    vector = SPARSE_VECTORS[getattr(level, f"Array{which}Type")()]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy()


def in_module_order(name: str, layers: list[list[NDArray[np.floating]]]) -> list[list[NDArray[np.floating]]]:
    """The mesh graph alternates between its heads (presence, points) after the trunk; the module holds them one by one.

    The points head begins with two units more, which the graph runs before it starts to alternate.
    """
    if name != "mesh":
        return layers
    trunk, first_points_units, tail = layers[:44], layers[44:50], layers[50:]
    return trunk + tail[0::2] + first_points_units + tail[1::2]


def fill(network: nn.Module, layers: list[list[NDArray[np.floating]]]) -> None:
    """Copy parameters into a network's convolutions and PReLUs in order of declaration; numbers and shapes must fit."""
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    for module, arrays in zip(modules, layers, strict=True):
        for parameter, array in zip(module.parameters(), arrays, strict=True):
            if tuple(parameter.shape) != array.shape:
                raise ValueError(f"expected {tuple(parameter.shape)} for {module}, received {array.shape}")
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float32)))


def mesh_triangles(connections: str) -> list[list[int]]:
    """Triangles of the 468 points, counter-clockwise from outside, out of the wheel's list of edges.

    The list names the three edges of one triangle after the other. It leaves the eyes and the mouth open.
    """
    listed = connections[connections.index("FACEMESH_TESSELATION") :]
    edges = [(int(a), int(b)) for a, b in re.findall(r"\((\d+),\s*(\d+)\)", listed)]
    triangles = [[edges[k][0], edges[k + 1][0], edges[k + 2][0]] for k in range(0, len(edges), 3)]
    assert all(
        edges[k] == (t[i], t[(i + 1) % 3])
        for t, j in zip(triangles, range(0, len(edges), 3), strict=True)
        for i, k in enumerate(range(j, j + 3))
    )
    return triangles


def mean_mesh(detector: FaceDetector) -> list[list[float]]:
    """The dense points of the embedded portraits: turned to the front by their own depth, mirrored, averaged.

    Unit: the distance of the outer eye corners; x to image right, y up, z to the camera; origin between the eyes. The
    wheel holds no canonical mesh; this stands in for it where a rough start is enough.
    """
    shapes = []
    for name in ("astronaut", "grace_hopper"):
        (face,) = detect_faces(read_photo(embedded_path(f"photos/{name}.jpg")), detector, max_faces=1)
        assert face.mesh is not None
        shape = face.mesh * torch.tensor([1.0, -1, -1])
        shapes += [shape, shape[MESH_MIRROR] * torch.tensor([-1.0, 1, 1])]
    mean = shapes[0]
    for _ in range(5):
        aligned = [apply_similarity(shape, *similarity_from_points(shape, mean)) for shape in shapes]
        mean = torch.stack(aligned).mean(0)
        mean = (mean + mean[MESH_MIRROR] * torch.tensor([-1.0, 1, 1])) / 2
        corners = mean[[33, 263]]
        mean = (mean - corners.mean(0)) / (corners[1] - corners[0]).norm()
    return [[round(float(value), 4) for value in point] for point in mean]


def main() -> None:
    """Read the wheel, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe", type=Path, required=True, help="the wheel mediapipe-0.10.14-*.whl")
    parser.add_argument("--out", type=Path, required=True, help="detector.safetensors")
    parser.add_argument("--mesh", type=Path, help="also write the mesh's triangles, mirror map and a mean shape: json")
    arguments = parser.parse_args()
    detector = FaceDetector()
    sources = {}
    with zipfile.ZipFile(arguments.mediapipe) as wheel:
        for name, path in MODELS.items():
            content = wheel.read(path)
            sources[path] = hashlib.sha256(content).hexdigest()
            network = getattr(detector, name)
            fill(network, in_module_order(name, Graph(content).layers()))
            print(f"{name}: {sum(p.numel() for p in network.parameters())} parameters")
        triangles = mesh_triangles(wheel.read(CONNECTIONS).decode())
    # the published constants are half precision already: nothing is lost
    weights = {key: value.half().contiguous() for key, value in sorted(detector.state_dict().items())}
    card = {"source": "mediapipe 0.10.14", "license": "Apache-2.0", "sha256": sources}
    # one entry: safetensors writes several in random order
    save_file(weights, arguments.out, {"card": json.dumps(card, sort_keys=True)})
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")
    if arguments.mesh:
        mesh = {"triangles": triangles, "mirror": MESH_MIRROR, "mean_points": mean_mesh(detector.eval())}
        arguments.mesh.write_text(json.dumps(mesh) + "\n")


if __name__ == "__main__":
    main()
