"""The page: a viser server on the loopback, one scene and one set of sliders for whoever looks."""

import importlib
import io
import math
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import MissingExtraError, SettingsError
from facewright.export.formats import FORMATS
from facewright.export.png import png_bytes
from facewright.morphable.linear import FaceModel
from facewright.viewer.shape import (
    ID_MODES,
    LOOKS,
    Controls,
    asset_of,
    changed,
    landmarks_of_shown,
    mesh_of,
    vertices_of,
)
from facewright.viewer.shown import Shown

LOOPBACK = "127.0.0.1"
BEHIND_DM, REACH_DM = 2.5, 1.7
"""How far behind the head the photo stands, and how far the head reaches from its origin."""
TURN_DEG = 60.0
SUN_DM = (0.7, 1.05, 1.5)
"""Where the sun is dragged from, as seen from the head: in view, from where the photo was taken."""
NARROW = 0.6
"""Width over height of a window from which on it is a phone's."""
FRAME_S = 1 / 30
_PLACES = ("behind", "beside", "off")


def open_page(shown: Sequence[Shown], *, port: int = 8080, host: str = LOOPBACK) -> "Page":
    """Serve the page; it stays until ``Page.close``.

    Args:
        shown: faces on it, at least one.
        port: of the server; 0: any that is free.
        host: address that it listens at.

    Raises:
        MissingExtraError: viser is not installed.
        SettingsError: there is nothing to show, or the port is taken.
    """
    try:
        viser: Any = importlib.import_module("viser")
    except ImportError as error:
        raise MissingExtraError(
            "the viewer expects the package viser, which is not installed: pip install 'facewright[view]'"
        ) from error
    if not shown:
        raise SettingsError("expected at least one face to show, received none")
    try:
        with redirect_stdout(io.StringIO()):  # it would greet on the terminal
            server = viser.ViserServer(host=host, port=port, label="facewright", verbose=False)
    except OSError as error:
        raise SettingsError(f"expected a free port at {host}, received --port {port}: {error}") from error
    return Page(server, list(shown))


class Page:
    """A page that is served.

    Args:
        server: viser's.
        shown: faces on it.
    """

    def __init__(self, server: Any, shown: list[Shown]) -> None:
        self.server, self.shown = server, shown
        self.place, self.before = 0, min(1, len(shown) - 1)
        self.controls = Controls()
        self._lock = threading.RLock()
        self._playing = threading.Event()
        self._closed = threading.Event()
        self._setting = False
        self._build()
        self._choose(0)
        self._player = threading.Thread(target=self._play, daemon=True)
        self._player.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{LOOPBACK}:{self.server.get_port()}"

    @property
    def now(self) -> Shown:
        """The face that is shown."""
        return self.shown[self.place]

    def close(self) -> None:
        """Serve no longer."""
        self._closed.set()
        self._playing.set()
        self._player.join(timeout=5.0)
        with redirect_stdout(io.StringIO()):
            self.server.stop()

    # ------------------------------------------------------------------------------------------- sliders and scene

    def _build(self) -> None:
        server, gui = self.server, self.server.gui
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, control_width="medium")
        gui.main_panel.dock_right()
        server.scene.set_up_direction("+y")
        server.scene.configure_default_lights(False)
        server.scene.add_light_ambient("/ambient", intensity=1.1)
        titles = [f"{k + 1}. {one.title}" for k, one in enumerate(self.shown)]
        self.choice = gui.add_dropdown("Face", titles, initial_value=titles[0], visible=len(titles) > 1)
        self.choice.on_update(lambda _: self._choose(titles.index(self.choice.value)))
        self.swap = gui.add_button("Before / after", visible=len(titles) > 1)
        self.swap.on_click(lambda _: self._swapped(titles))
        self.look = gui.add_dropdown("Surface", LOOKS, initial_value="texture")
        self.look.on_update(lambda _: self._set(look=self.look.value))
        self.photo = gui.add_dropdown("Photo", _PLACES, initial_value=_PLACES[0])
        self.photo.on_update(lambda _: self._move_photo())
        self.points = gui.add_checkbox("Landmarks", False)
        self.points.on_update(lambda _: self._draw_landmarks())
        view = gui.add_button("See it as the camera did")
        view.on_click(lambda event: self._as_the_camera(event.client))
        self.time = gui.add_slider("Frame", 0, 1, 1, 0, visible=False)
        self.time.on_update(lambda _: self._moved_to(int(self.time.value)))
        self.play = gui.add_button("Play / pause", visible=False)
        self.play.on_click(lambda _: self._playing.clear() if self._playing.is_set() else self._playing.set())
        self.sliders: dict[tuple[str, int], Any] = {}
        self._tabs(gui)
        self.sun = server.scene.add_transform_controls(
            "/sun",
            scale=0.5,
            disable_rotations=True,
            depth_test=False,
            position=_head(self.now) + np.asarray(SUN_DM),
            visible=False,
        )
        self.sun.on_update(lambda _: self._shine())
        self._shine()
        server.on_client_connect(self._as_the_camera)

    def _tabs(self, gui: Any) -> None:
        tabs = gui.add_tab_group()
        self.tabs = tabs.add_tab("Face"), tabs.add_tab("Who")
        self._sliders_of(self.shown[0].model)
        with tabs.add_tab("Pose, light"):
            names = ("nod (pitch)", "turn (yaw)", "roll")
            self.turns = [gui.add_slider(name, -TURN_DEG, TURN_DEG, 1.0, 0.0) for name in names]
            for slider in self.turns:
                slider.on_update(lambda _: self._turned())
            self.sun_strength = gui.add_slider("sun", 0.0, 5.0, 0.1, 1.2)
            self.sun_strength.on_update(lambda _: self._shine())
            self.sun_shown = gui.add_checkbox("drag the sun", False)
            self.sun_shown.on_update(lambda _: setattr(self.sun, "visible", self.sun_shown.value))
        with tabs.add_tab("Save"):
            gui.add_button("Back to what was found").on_click(lambda _: self._reset())
            gui.add_button("Save .glb").on_click(lambda event: self._save_mesh(event.client))
            gui.add_button("Save .png").on_click(lambda event: self._save_picture(event.client))
        if any(one.photos for one in self.shown):
            with tabs.add_tab("Photos"):
                self._album()

    def _sliders_of(self, model: FaceModel) -> None:
        """Those of one face model in place of another's."""
        for slider in self.sliders.values():
            slider.remove()
        self.sliders = {}
        expressions, modes = self.tabs
        with expressions:
            self._expression_sliders(model)
        with modes:
            for k in range(min(ID_MODES, model.layout.id)):
                self._slider("id", k, f"mode {k + 1}", -3.0, 3.0)

    def _expression_sliders(self, model: FaceModel) -> None:
        low, high = (0.0, 1.0) if model.exp_is_box else (-3.0, 3.0)
        for k in range(model.layout.exp):
            name = model.exp_names[k] if k < len(model.exp_names) and model.exp_names[k] else f"expression {k + 1}"
            self._slider("exp", k, name, low, high)

    def _slider(self, kind: str, column: int, name: str, low: float, high: float) -> None:
        slider = self.server.gui.add_slider(name, low, high, (high - low) / 100.0, 0.0)
        self.sliders[kind, column] = slider
        slider.on_update(lambda _: self._slid(kind, column, float(slider.value)))

    def _album(self) -> None:
        albums = [one for one in self.shown if one.photos]
        for one in albums:
            if len(albums) > 1:
                self.server.gui.add_markdown(_plain(f"{one.title}:"))
            for name, what, picture in one.photos:
                label = f"{name}: {what}"
                if picture is None:
                    self.server.gui.add_markdown(_plain(label))
                else:
                    self.server.gui.add_image(picture, label=label, format="jpeg")

    def _choose(self, place: int) -> None:
        with self._lock:
            last = self.now
            if place != self.place:
                self.before = self.place
            self.place = place
            if self.now.model.name != last.model.name:
                self._sliders_of(self.now.model)
            self.sun.position = np.asarray(self.sun.position) + _head(self.now) - _head(last)
            count = len(self.now.frames)
            self.controls = Controls(look=self.controls.look)
            self.time.visible = self.play.visible = count > 1
            self._quietly(lambda: (setattr(self.time, "max", max(1, count - 1)), setattr(self.time, "value", 0)))
            self._show_values()
            self._draw()
            self._draw_photo()
            if self.now.pictures[:1] != last.pictures[:1] or len(self.now.frames) != len(last.frames):
                self._all_as_the_camera()  # another photo; of the same one the view stays, to compare

    def _swapped(self, titles: list[str]) -> None:
        self.choice.value = titles[self.before]

    def _show_values(self) -> None:
        """Put the sliders where the face is."""
        face = changed(self.now, self.controls)

        def put() -> None:
            for (kind, column), slider in self.sliders.items():
                value = float(getattr(face, kind)[0, column])
                slider.value = min(max(value, slider.min), slider.max)
            for slider in self.turns:
                slider.value = 0.0

        self._quietly(put)

    def _quietly(self, put: Callable[[], Any]) -> None:
        """Move sliders without being asked to draw for each."""
        self._setting = True
        try:
            put()
        finally:
            self._setting = False

    def _set(self, **values: Any) -> None:
        with self._lock:
            if not self._setting:
                self.controls = replace(self.controls, **values)
                self._draw()

    def _slid(self, kind: str, column: int, value: float) -> None:
        with self._lock:
            if not self._setting:
                self._set(**{kind: {**getattr(self.controls, kind), column: value}})

    def _turned(self) -> None:
        self._set(turn=tuple(math.radians(slider.value) for slider in self.turns))

    def _reset(self) -> None:
        with self._lock:
            self.controls = Controls(look=self.controls.look, frame=self.controls.frame)
            self._show_values()
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            scene, mesh = self.server.scene, mesh_of(self.now, self.controls)
            if self.controls.look == "wireframe":
                scene.remove_by_name("/face")
                scene.add_mesh_simple(
                    "/wire", np.asarray(mesh.vertices), np.asarray(mesh.faces), color=(120, 220, 160), wireframe=True
                )
            else:
                scene.remove_by_name("/wire")
                scene.add_mesh_trimesh("/face", mesh, cast_shadow=False, receive_shadow=False)
            self._draw_landmarks()

    def _draw_landmarks(self) -> None:
        with self._lock:
            if not self.points.value:
                self.server.scene.remove_by_name("/landmarks")
                return
            vertices = vertices_of(self.now, changed(self.now, self.controls))
            points = landmarks_of_shown(self.now, vertices).numpy() + np.array([0.0, 0.0, 0.02])
            self.server.scene.add_point_cloud(
                "/landmarks", points, (255, 90, 60), point_size=0.02, point_shape="circle", precision="float32"
            )

    def _draw_photo(self) -> None:
        """Where the photo's own camera sees it around the head; or beside that."""
        with self._lock:
            picture = self.now.picture(self.controls.frame)
            if picture is None or self.photo.value == "off":
                self.server.scene.remove_by_name("/photo")
                return
            (x, y, z), (width, height) = self._photo_place()
            self.server.scene.add_image(
                "/photo",
                picture,
                width,
                height,
                format="jpeg",
                position=(x, y, z),
                wxyz=(0.0, 1.0, 0.0, 0.0),
                cast_shadow=False,
                receive_shadow=False,
            )

    def _shine(self) -> None:
        position = np.asarray(self.sun.position) - _head(self.now)  # it shines at the origin, whatever is there
        self.server.scene.add_light_directional(
            "/sunlight", intensity=float(self.sun_strength.value), position=tuple(position), cast_shadow=False
        )

    def _move_photo(self) -> None:
        self._draw_photo()
        self._all_as_the_camera()

    def _all_as_the_camera(self) -> None:
        for client in self.server.get_clients().values():
            self._as_the_camera(client)

    def _photo_place(self) -> tuple[tuple[float, float, float], tuple[float, float]]:
        """Middle and size of the photo, dm: where its camera sees it around the head; or beside the head, as high."""
        camera, head = self.now.camera, self.now.frames[0].translation[0].tolist()
        if self.photo.value == "beside":
            height = 2.0 * REACH_DM
            width = height * camera.width / camera.height
            return (head[0] + REACH_DM + width / 2.0, head[1], head[2]), (width, height)
        z = head[2] - BEHIND_DM
        scale = (camera.distance_dm - z) / float(camera.focal_px[0])
        x = ((camera.width - 1) / 2 - float(camera.cx[0])) * scale
        y = -((camera.height - 1) / 2 - float(camera.cy[0])) * scale
        return (x, y, z), (camera.width * scale, camera.height * scale)

    def _as_the_camera(self, client: Any) -> None:
        """From where the photo was taken, at the head; and at the photo beside it."""
        if client is None:
            return
        shown, head = self.now, self.now.frames[0].translation[0].tolist()
        away, reach, x = shown.camera.distance_dm - head[2], REACH_DM, 0.0
        if self.photo.value == "beside" and shown.pictures:
            (middle, _, _), (width, _) = self._photo_place()
            x = (middle + width / 2.0 - head[0] - REACH_DM) / 2.0
            reach = REACH_DM + x
        camera, y = client.camera, head[1]
        reach = reach / min(1.0, camera.aspect)
        if camera.aspect < NARROW:  # a phone's: the sliders cover the lower part
            y -= 0.5 * reach
        camera.up_direction = (0.0, 1.0, 0.0)
        camera.position = (x, 0.0, shown.camera.distance_dm)
        camera.look_at = (head[0] + x, y, head[2])
        camera.fov = 2.0 * math.atan2(reach, away)

    # ---------------------------------------------------------------------------------------------------- a clip

    def _moved_to(self, frame: int) -> None:
        with self._lock:
            if self._setting:
                return
            self.controls = replace(self.controls, frame=frame, exp={})
            self._show_values()
            self._draw()
            self._draw_photo()

    def _play(self) -> None:
        while not self._closed.is_set():
            self._playing.wait()
            if self._closed.wait(FRAME_S):
                return
            count = len(self.now.frames)
            if count > 1:
                frame = (int(self.time.value) + 1) % count
                self._quietly(partial(setattr, self.time, "value", frame))
                self._moved_to(frame)

    # ------------------------------------------------------------------------------------------------------ files

    def _save_mesh(self, client: Any) -> None:
        if client is not None:
            blob = FORMATS["glb"].encode(asset_of(self.now, self.controls), "face.glb")["face.glb"]
            client.send_file_download("face.glb", blob, save_immediately=True)

    def _save_picture(self, client: Any) -> None:
        if client is not None:
            picture = client.get_render(height=1080, width=1080)
            pixels = torch.from_numpy(np.asarray(picture)[..., :3].copy()).permute(2, 0, 1) / 255.0
            client.send_file_download("face.png", png_bytes(pixels, kind="picture"), save_immediately=True)


def _head(shown: Shown) -> Float[ndarray, " 3"]:
    """Where the head is, at first, dm."""
    return shown.frames[0].translation[0].numpy().astype(float)


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    return text.replace("`", "'").replace("[", "(").replace("<", "(")
