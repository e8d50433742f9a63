"""What is behind people: rooms, streets, foliage, skies, stages, walls with writing, crowds; mostly out of focus.

Pictures of places are mostly grey: colours are drawn weak, with a few saturated things. numpy and OpenCV, linear RGB.
"""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from facewright.synthetic.dice import picked
from facewright.synthetic.textures import fractal_noise

Canvas = Float[ndarray, "H W 3"]
Number = float | int
ATLAS_PX = 256
BLURRED_SHARE = 0.75


def draw_backdrop(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """A place behind the person, drawn at a half or a quarter of the size where it is blurred anyway.

    Args:
        rng: random state; it advances.
        height: rows.
        width: columns.
    """
    longer = max(height, width)
    blur = float(rng.uniform(0.006, 0.05) if rng.random() < BLURRED_SHARE else rng.uniform(0.0, 0.004)) * longer
    shrink = 4 if blur > 5 else 2 if blur > 1.5 else 1
    h, w = max(8, -(-height // shrink)), max(8, -(-width // shrink))
    kind = picked(rng, BACKDROPS)
    canvas = _light_fall(rng, kind(rng, np.zeros((h, w, 3), np.float32)))
    if blur / shrink > 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), blur / shrink)
    if shrink > 1:
        canvas = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas.clip(0.0, 1.0)


def noise_patch(rng: np.random.Generator, height: int, width: int, *, zoom: float = 1.0) -> Float[ndarray, "H W"]:
    """A piece of ready 1/f noise, deviation about 1; ``zoom`` above 1 makes it coarser."""
    atlas = _atlas()
    share = min(1.0, max(height, width) / (zoom * ATLAS_PX))
    rows, columns = (max(2, int(share * side / max(height, width) * ATLAS_PX)) for side in (height, width))
    y, x = rng.integers(ATLAS_PX - rows + 1), rng.integers(ATLAS_PX - columns + 1)
    piece = atlas[y : y + rows, x : x + columns]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=cv2.INTER_LINEAR)


def thing_color(rng: np.random.Generator, *, least: float = 0.02, most: float = 0.6, tint: float = 0.12) -> ndarray:
    """Linear RGB of a thing: mostly dull; one in eight is bright and saturated."""
    light = least + (most - least) * rng.beta(1.0, 1.8)
    spread = 0.6 if rng.random() < 0.12 else tint
    return (light * np.exp(spread * rng.standard_normal(3))).clip(0.003, 0.95)


def _wall(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """A plain or plastered wall, or a studio's paper."""
    color = thing_color(rng, least=0.03, most=0.9, tint=0.07)
    rough = rng.choice([0.01, 0.05, 0.12])
    return _painted(canvas + color * (1.0 + rough * noise_patch(rng, *canvas.shape[:2])[..., None]))


def _room(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """A wall with frames, shelves, doors, furniture and perhaps a bright window."""
    h, w = canvas.shape[:2]
    canvas = _wall(rng, canvas)
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(-0.1, 1.0, 2) * [w, h]
        wide, tall = rng.uniform(0.06, 0.5, 2) * [w, h]
        _box(canvas, x, y, wide, tall, thing_color(rng))
    if rng.random() < 0.4:  # shelves with books
        top, left, wide = rng.uniform(0, 0.6) * h, rng.uniform(-0.2, 0.7) * w, rng.uniform(0.3, 0.7) * w
        for row in range(int(rng.integers(1, 4))):
            x, tall = left, 0.16 * h
            while x < left + wide:
                book = rng.uniform(0.012, 0.05) * w
                _box(canvas, x, top + row * 0.2 * h + rng.uniform(0, 0.03) * h, book, tall, thing_color(rng, tint=0.3))
                x += book
    if rng.random() < 0.35:  # a window or a lamp
        x, y, wide, tall = rng.uniform(-0.1, 0.8) * w, rng.uniform(-0.1, 0.4) * h, 0.3 * w, rng.uniform(0.2, 0.6) * h
        _box(canvas, x, y, wide, tall, np.array([0.85, 0.92, 1.0]) * rng.uniform(0.7, 2.0))
        _box(canvas, x + 0.48 * wide, y, 0.04 * wide, tall, thing_color(rng))
        _box(canvas, x, y + 0.5 * tall, wide, 0.03 * tall, thing_color(rng))
    return canvas


def _foliage(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Leaves with light between them, over grass or a path."""
    h, w = canvas.shape[:2]
    green = np.array([0.07, 0.12, 0.035]) * np.exp(0.25 * rng.standard_normal(3)) * rng.uniform(0.5, 1.8)
    leaves = noise_patch(rng, h, w)[..., None]
    canvas = _painted(canvas + green * np.exp(0.7 * leaves))
    gaps = noise_patch(rng, h, w, zoom=2.0) > rng.uniform(1.2, 2.2)
    canvas[gaps] = np.array([0.7, 0.85, 1.0]) * rng.uniform(0.5, 1.2)
    for _ in range(int(rng.integers(0, 4))):
        x = rng.uniform(0, w)
        wide = rng.uniform(0.01, 0.06) * w
        _box(canvas, x, 0, wide, h, np.array([0.06, 0.045, 0.03]) * rng.uniform(0.5, 2.0))
    if rng.random() < 0.6:
        floor = int(rng.uniform(0.5, 0.9) * h)
        ground = green * 1.3 if rng.random() < 0.6 else thing_color(rng, tint=0.05)
        canvas[floor:] = ground * np.exp(0.3 * leaves[floor:])
    return canvas


def _sky(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Sky with clouds over a horizon of hills, sea or roofs."""
    h, w = canvas.shape[:2]
    blue = np.array([0.22, 0.42, 0.78]) if rng.random() < 0.6 else np.array([0.65, 0.68, 0.72])
    height = np.linspace(1.0, 0.0, h)[:, None, None]
    canvas = canvas + (height * blue + (1.0 - height) * (0.5 * blue + 0.4)) * rng.uniform(0.6, 1.3)
    clouds = (0.5 * noise_patch(rng, h, w, zoom=2.0) - rng.uniform(-0.3, 0.8)).clip(0.0, 1.0)[..., None]
    canvas = canvas * (1.0 - clouds) + clouds * rng.uniform(0.6, 1.1)
    ridge = rng.uniform(0.45, 1.1) * h + 0.06 * h * noise_patch(rng, 2, w, zoom=3.0)[0]
    below = np.arange(h)[:, None] > ridge
    land = thing_color(rng, most=0.25) * np.exp(0.3 * noise_patch(rng, h, w)[..., None])
    return np.where(below[..., None], land, canvas).astype(np.float32)


def _street(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """House fronts with rows of windows, perhaps cars and signs."""
    h, w = canvas.shape[:2]
    canvas = _sky(rng, canvas)
    x = -0.1 * w
    while x < w:
        wide, top = rng.uniform(0.2, 0.6) * w, rng.uniform(-0.2, 0.4) * h
        front, pane = thing_color(rng, tint=0.15), thing_color(rng, most=0.4)
        _box(canvas, x, top, wide, h, front)
        columns, rows = rng.integers(2, 7), rng.integers(2, 8)
        step_x, step_y = wide / columns, 1.1 * h / rows
        for i in range(columns):
            for j in range(rows):
                _box(canvas, x + (i + 0.25) * step_x, top + (j + 0.3) * step_y, 0.5 * step_x, 0.5 * step_y, pane)
        x += wide
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform([-0.1, 0.5], [0.9, 0.9]) * [w, h]
        wide, tall = rng.uniform(0.05, 0.35, 2) * [w, h]
        _box(canvas, x, y, wide, tall, thing_color(rng, tint=0.35))
    return canvas


def _lights(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Night or a hall: darkness with discs of light out of focus."""
    h, w = canvas.shape[:2]
    dark = np.exp(0.5 * noise_patch(rng, h, w, zoom=1.5)[..., None])
    canvas = _painted(canvas + thing_color(rng, least=0.004, most=0.08, tint=0.2) * dark)
    radius, warm = rng.uniform(0.01, 0.07) * max(h, w), np.array([1.0, 0.72, 0.42])
    for _ in range(int(rng.integers(3, 28))):
        color = warm * np.exp(0.35 * rng.standard_normal(3)) * rng.uniform(0.1, 1.3)
        layer = canvas.copy()
        _disc(layer, rng.uniform(0, w), rng.uniform(0, 0.8 * h), radius * rng.uniform(0.7, 1.2), color)
        canvas = 0.35 * canvas + 0.65 * layer
    return canvas


def _stage(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Near black, with a curtain or a screen."""
    h, w = canvas.shape[:2]
    folds = 0.5 + 0.5 * np.sin(np.arange(w) * rng.uniform(10.0, 60.0) / w + 2.0 * noise_patch(rng, 2, w)[0])
    curtain = thing_color(rng, least=0.002, most=0.12, tint=0.4) * (0.3 + 0.7 * folds[None, :, None])
    canvas = _painted(canvas + curtain)
    if rng.random() < 0.4:
        x, y = rng.uniform(-0.2, 0.7, 2) * [w, h]
        _box(canvas, x, y, 0.5 * w, 0.4 * h, thing_color(rng, least=0.2, most=1.0, tint=0.4))
    return canvas


def _poster(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """A wall of writing and marks, as press walls and shop fronts have."""
    h, w = canvas.shape[:2]
    canvas = _painted(canvas + thing_color(rng, least=0.02, most=0.95, tint=0.1))
    color, scale = thing_color(rng, tint=0.6), rng.uniform(0.12, 0.5) * h / 22.0
    ink = np.zeros((h, w), np.uint8)
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    font, thick = fonts[int(rng.integers(3))], max(1, int(scale * rng.uniform(1.0, 5.0)))
    for _ in range(int(rng.integers(3, 12))):
        word = "".join(chr(65 + letter) for letter in rng.integers(0, 26, rng.integers(2, 8)))
        place = (int(rng.uniform(-0.2, 0.9) * w), int(rng.uniform(0.05, 1.0) * h))
        cv2.putText(ink, word, place, font, scale, 255, thick, cv2.LINE_AA)
        if rng.random() < 0.3:
            x, y = rng.random(2) * [w, h]
            _disc(canvas, x, y, rng.uniform(0.02, 0.12) * w, thing_color(rng, tint=0.6))
    share = ink[..., None] / 255.0
    return canvas * (1.0 - share) + share * color


def _crowd(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Other people, out of focus: heads over shoulders, far ones first."""
    h, w = canvas.shape[:2]
    canvas = (_room, _foliage, _lights)[int(rng.integers(3))](rng, canvas)
    for size in np.sort(rng.uniform(0.04, 0.16, int(rng.integers(3, 14)))) * max(h, w):
        x, y = rng.uniform(0, w), rng.uniform(0.2, 0.8) * h
        skin = np.array([0.42, 0.26, 0.19]) * rng.uniform(0.2, 1.3)
        _oval(canvas, x, y + 2.6 * size, 1.7 * size, 1.6 * size, thing_color(rng, tint=0.25))
        _oval(canvas, x, y - 0.2 * size, 0.85 * size, 1.05 * size, thing_color(rng, most=0.15))
        _oval(canvas, x, y + 0.15 * size, 0.68 * size, 0.9 * size, skin)
    return canvas


def _masonry(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Bricks, tiles, boards or rocks."""
    h, w = canvas.shape[:2]
    canvas = _wall(rng, canvas)
    color = canvas.mean((0, 1))
    tall = rng.uniform(0.03, 0.15) * h
    wide, shift = tall * rng.uniform(1.0, 4.0), rng.choice([0.0, 0.5])
    for j in range(-1, int(h / tall) + 1):
        for i in range(-1, int(w / wide) + 1):
            shade = color * np.exp(0.15 * rng.standard_normal())
            _box(canvas, (i + shift * (j % 2)) * wide, j * tall, 0.93 * wide, 0.9 * tall, shade)
    return canvas * np.exp(0.12 * noise_patch(rng, h, w)[..., None])


def _noise(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Nothing that could be named: the statistics of pictures alone."""
    h, w = canvas.shape[:2]
    grey = np.exp(rng.uniform(0.2, 0.8) * noise_patch(rng, h, w))[..., None]
    tint = 0.15 * noise_patch(rng, h, w, zoom=3.0)[..., None] * rng.standard_normal(3)
    return (canvas + thing_color(rng) * grey * np.exp(tint)).astype(np.float32)


BACKDROPS: dict[Callable[[np.random.Generator, Canvas], Canvas], float] = {
    _wall: 0.16,
    _room: 0.21,
    _foliage: 0.13,
    _sky: 0.06,
    _street: 0.10,
    _lights: 0.07,
    _stage: 0.06,
    _poster: 0.07,
    _crowd: 0.06,
    _masonry: 0.03,
    _noise: 0.05,
}
"""Places and how often they are drawn."""


def _light_fall(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Light falls off across any place."""
    h, w = canvas.shape[:2]
    y, x = np.linspace(-1, 1, h)[:, None, None], np.linspace(-1, 1, w)[None, :, None]
    slope = 0.35 * rng.standard_normal(2)
    return (canvas * np.exp(slope[0] * y + slope[1] * x + 0.25 * rng.standard_normal())).astype(np.float32)


def _painted(canvas: ndarray) -> Canvas:
    """As OpenCV draws on it."""
    return np.ascontiguousarray(canvas, np.float32)


def _box(canvas: Canvas, x: Number, y: Number, wide: Number, tall: Number, color: ndarray) -> None:
    corners = (int(x), int(y)), (int(x + wide), int(y + tall))
    cv2.rectangle(canvas, *corners, color.tolist(), -1)


def _disc(canvas: Canvas, x: Number, y: Number, radius: Number, color: ndarray) -> None:
    cv2.circle(canvas, (int(x), int(y)), max(1, int(radius)), color.tolist(), -1, cv2.LINE_AA)


def _oval(canvas: Canvas, x: Number, y: Number, wide: Number, tall: Number, color: ndarray) -> None:
    axes = (max(1, int(wide)), max(1, int(tall)))
    cv2.ellipse(canvas, (int(x), int(y)), axes, 0.0, 0.0, 360.0, color.tolist(), -1, cv2.LINE_AA)


@cache
def _atlas() -> Float[ndarray, "A A"]:
    """Ready 1/f noise, the same for all scenes; pictures differ by where they read it."""
    return fractal_noise(np.random.default_rng(11), ATLAS_PX, ATLAS_PX, 1.1)
