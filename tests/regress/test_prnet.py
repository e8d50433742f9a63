import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.geometry.five_points import deep3d_template, five_from_68
from facewright.geometry.frames import crop_camera
from facewright.geometry.map_pose import map_of_world
from facewright.regress.importers import convert_weights, import_weights
from facewright.regress.importers.lazy import TensorFile
from facewright.regress.importers.resfcn_names import read_resfcn
from facewright.regress.prnet import PRNet, SameConv2d, SameTransposed2d
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, save_weights
from tests.regress.resfcn_reference import (
    resfcn_layers,
    resfcn_variables,
    same_convolution,
    same_transposed,
    write_resfcn_checkpoint,
    write_uv_data,
)

WIDTH = 0.125


@pytest.fixture(scope="module")
def variables():
    return resfcn_variables(3, width=WIDTH)


def test_the_published_network_has_its_published_numbers():
    with torch.device("meta"):
        net = PRNet()
    assert sum(p.numel() for p in net.parameters()) == 13_353_618
    assert len(list(net.parameters())) == 149
    assert sum(p.numel() for name, p in net.named_parameters() if ".layers." not in name) == 3_587_872
    assert sum(b.numel() for name, b in net.named_buffers() if "running" in name) == 11_890


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 1), (4, 2), (1, 1), (1, 2)])
def test_convolutions_pad_as_tensorflow(kernel, stride, side):
    rng = np.random.default_rng(kernel + stride)
    x, weight = rng.standard_normal((side, side + 3, 3)), rng.standard_normal((kernel, kernel, 3, 5))
    ours = SameConv2d(3, 5, kernel, stride).double()
    ours.weight.data = torch.from_numpy(weight).permute(3, 2, 0, 1)
    received = ours(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).detach().numpy()
    np.testing.assert_allclose(received, same_convolution(x, weight, stride), atol=1e-12)


@pytest.mark.parametrize("side", [4, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolutions_are_cut_as_tensorflow(stride, side):
    rng = np.random.default_rng(stride)
    x, weight = rng.standard_normal((side, side + 2, 3)), rng.standard_normal((4, 4, 5, 3))
    ours = SameTransposed2d(3, 5, 4, stride).double()
    ours.weight.data = torch.from_numpy(weight).permute(3, 2, 0, 1)
    received = ours(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).detach().numpy()
    np.testing.assert_allclose(received, same_transposed(x, weight, stride), atol=1e-12)
    assert received.shape == (side * stride, (side + 2) * stride, 5)


def test_every_layer_answers_as_the_published_one(variables):
    """Crops of 72 px: 72 36 18 9 5 3, so that blocks and skips meet odd sides."""
    state, width, _ = read_resfcn(TensorFile("memory", variables, variables.__getitem__))
    net = PRNet(width=width, crop_size=72).eval()
    net.load_state_dict(state | {name: b for name, b in net.named_buffers() if "." not in name})
    seen = []
    trunk = net.backbone
    parts = [trunk.get_submodule("stem_norm"), *trunk.get_submodule("blocks").children()]
    parts += trunk.get_submodule("layers").children()
    for part in parts:
        part.register_forward_hook(lambda module, given, answer: seen.append(answer[0].permute(1, 2, 0)))
    crop = torch.rand(1, 3, 72, 72)
    with torch.no_grad():
        positions = net(crop)
    expected = resfcn_layers(variables, crop[0].permute(1, 2, 0).numpy().astype(np.float64))
    seen = [seen[0].relu(), *seen[1:11], *[x.relu() for x in seen[11:-1]], seen[-1].sigmoid()]
    assert len(seen) == len(expected) == 28
    for k, (ours, theirs) in enumerate(zip(seen, expected, strict=True)):
        assert ours.shape == theirs.shape
        assert theirs.std() > 1e-3
        assert np.abs(ours.numpy() - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max()), f"layer {k}"
    np.testing.assert_allclose(positions[0].permute(1, 2, 0).numpy(), 1.1 * 72 * expected[-1], atol=1e-3)
    assert positions.shape == (1, 3, 96, 96)


def test_the_checkpoint_comes_in_whole_and_goes_out_again(variables, tmp_path):
    index = write_resfcn_checkpoint(tmp_path / "Data", variables)
    report = convert_weights(index, tmp_path / "prnet.safetensors")
    assert "PRNet for bfm2009" in report.lines()[0]
    assert any("optimiser" in note for note in report.notes)
    described = describe_weights(tmp_path / "prnet.safetensors")
    assert (described["kind"], described["template"], described["width"]) == ("prnet", "prnet-square", WIDTH)
    net = load_weights(tmp_path / "prnet.safetensors", kind="prnet")
    crop = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        received = net(crop)[0].permute(1, 2, 0).numpy()
    expected = 281.6 * resfcn_layers(variables, crop[0].permute(1, 2, 0).numpy().astype(np.float64))[-1]
    assert expected.std() > 1.0
    assert np.abs(received - expected).max() < 1e-5 * 281.6
    assert net.mask.sum() == len(np.loadtxt(tmp_path / "Data/uv-data/face_ind.txt"))
    columns, rows = np.loadtxt(tmp_path / "Data/uv-data/uv_kpt_ind.txt")
    np.testing.assert_array_equal(net.landmarks.numpy(), np.stack([rows, columns], -1))
    # the mean face is upright, of its size, and where five points of all faces are
    marks = net.canonical_dm[:, net.landmarks[:, 0], net.landmarks[:, 1]].T.double()
    torch.testing.assert_close(five_from_68(marks).mean(0), deep3d_template().mean(0), atol=1e-6, rtol=0)
    assert marks[-1, 1] < marks[0, 1]
    torch.testing.assert_close(
        net.canonical_dm[0, 100, 200] - net.canonical_dm[0, 100, 60], torch.tensor(140 * 210 / 255 / 120)
    )


def _without(name):
    return lambda variables: {k: v for k, v in variables.items() if k != name}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(_without("resfcn256/Conv/weights"), "resfcn256/Conv/weights", id="no stem"),
        pytest.param(_without("resfcn256/resBlock_4/shortcut/weights"), "resBlock_4/shortcut", id="no shortcut"),
        pytest.param(_without("resfcn256/Conv2d_transpose_16/BatchNorm/moving_variance"), "_16/Batch", id="no norm"),
        pytest.param(
            lambda v: v | {"resfcn256/resBlock_3/Conv_1/weights": np.zeros((3, 3, 4, 4), np.float32)},
            r"blocks\.3\.filter",
            id="another kernel",
        ),
        pytest.param(
            lambda v: v | {"resfcn256/Conv2d_transpose/BatchNorm/beta": np.full(64, np.nan, np.float32)},
            r"layers\.0\.norm\.bias holds NaN",
            id="not finite",
        ),
    ],
)
def test_damaged_checkpoints_are_refused_by_name(variables, change, named, tmp_path):
    index = write_resfcn_checkpoint(tmp_path / "Data", change(variables))
    with pytest.raises(WeightsError, match=named):
        import_weights(index)


def test_a_truncated_shard_is_refused_by_name(variables, tmp_path):
    index = write_resfcn_checkpoint(tmp_path / "Data", variables)
    shard = index.with_name(index.stem + ".data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:-50_000])
    with pytest.raises(WeightsError, match=r"data-00000-of-00001: resfcn256/\S+ needs \d+ bytes"):
        import_weights(index)


def test_tables_are_found_named_and_checked(variables, tmp_path):
    index = write_resfcn_checkpoint(tmp_path / "Data", variables)
    tables = (tmp_path / "Data/uv-data").rename(tmp_path / "tables")
    with pytest.raises(AssetNotFoundError, match="--uv-data"):
        import_weights(index)
    import_weights(index, uv_data=tables)
    (tables / "uv_kpt_ind.txt").write_text("0 1 2\n3 4 5\n")
    with pytest.raises(WeightsError, match="2 rows of 68"):
        import_weights(index, uv_data=tables)
    write_uv_data(tables)
    np.save(tables / "canonical_vertices.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(WeightsError, match="canonical_vertices"):
        import_weights(index, uv_data=tables)


def test_an_untrained_light_net_answers_with_its_mean_face(tmp_path):
    net = PRNet(architecture="resnet18", width=0.125, crop_size=48, map_size=40).eval()
    mean = torch.randn(3, 40, 40) * 0.5
    mask = torch.rand(40, 40) > 0.5
    net.set_tables(mask, torch.arange(136).view(68, 2) % 40, mean, torch.tensor([0.1, 0.1, 0.9, 0.9]))
    save_weights(net, WeightsCard(face_model="toy", licence="CC0-1.0"), tmp_path / "light.safetensors")
    again = load_weights(tmp_path / "light.safetensors", kind="prnet", face_model="toy")
    assert again.mask.equal(mask)
    with torch.no_grad():
        seen = again.predict(torch.rand(2, 3, 48, 48))
    expected = map_of_world(mean.flatten(1).T[None], crop_camera(size=48))[0].T.unflatten(1, (40, 40))
    torch.testing.assert_close(seen.positions_px[1], expected)
    save_weights(net, WeightsCard(face_model="toy", licence="CC0-1.0"), tmp_path / "half.safetensors", half=True)
    halved = load_weights(tmp_path / "half.safetensors", kind="prnet")
    assert halved.mask.equal(mask)
    assert halved.landmarks.equal(net.landmarks)
    torch.testing.assert_close(halved.canonical_dm, mean, atol=2e-3, rtol=0)
    assert seen.sigma_px.shape == (2, 40, 40)
    assert (seen.sigma_px > 0).all()


def test_a_crop_of_another_size_is_refused():
    net = PRNet(width=0.0625, crop_size=64)
    with pytest.raises(ValueError, match="expected crops of 64 px"):
        net(torch.rand(1, 3, 256, 256))
