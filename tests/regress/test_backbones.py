import pytest
import torch

from facewright.regress.backbones import BACKBONES, build_backbone
from facewright.regress.backbones.resnet import _pad_same
from tests.regress.references import same_max_pool


@pytest.mark.parametrize(
    ("name", "published"),
    [  # totals published for ImageNet, minus their classifiers
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        ("resnet101", 44_549_160 - 2_049_000),
        ("mobilenet_v3_small", 2_542_856 - (576 * 1024 + 1024) - (1024 * 1000 + 1000)),
        ("mobilenet_v3_large", 5_483_032 - (960 * 1280 + 1280) - (1280 * 1000 + 1000)),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device("meta"):
        trunk = build_backbone(name)
    assert sum(p.numel() for p in trunk.parameters()) == published


@pytest.mark.parametrize("name", sorted(BACKBONES.keys() - {"dlib_resnet29", "dlib_resnet21"}))
def test_features_are_the_mean_of_the_last_stage_and_gradients_reach_the_stem(name):
    trunk = build_backbone(name, width=0.25).eval()
    images = torch.rand(2, 3, 64, 64)
    maps = trunk.stages(images)
    features = trunk(images)
    assert features.shape == (2, trunk.num_features)
    torch.testing.assert_close(features, maps[-1].mean((2, 3)))
    assert [m.shape[-1] for m in maps] == ([8, 4, 2, 2] if name.endswith("slim") else [16, 8, 4, 2])
    features.square().mean().backward()
    stem = next(iter(trunk.parameters())).grad
    assert stem is not None
    assert stem.abs().sum() > 0


def test_a_narrower_trunk_has_narrower_channels():
    assert build_backbone("resnet50", width=0.5).num_features == 1024
    assert build_backbone("mobilenet_v3_small", width=0.5).num_features % 8 == 0


def test_slim_and_torchvision_layouts_share_their_names_and_shapes():
    with torch.device("meta"):
        slim, plain = build_backbone("resnet_v1_50_slim"), build_backbone("resnet50")
    shapes = [{k: v.shape for k, v in trunk.state_dict().items()} for trunk in (slim, plain)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("rows", "columns"), [(7, 8), (8, 8), (9, 12), (3, 2), (14, 15)])
def test_same_padding_of_max_pooling_is_tensorflows(rows, columns):
    x = torch.randn(1, 1, rows, columns)  # negative values too: padding must not win against them
    pooled = torch.nn.functional.max_pool2d(_pad_same(x, 3, 2), 3, 2)
    torch.testing.assert_close(pooled[0, 0].numpy(), same_max_pool(x[0, 0].numpy(), 3, 2))


@pytest.mark.parametrize(("name", "width"), [("resnet51", 1.0), ("resnet50", 0.0), ("resnet50", float("nan"))])
def test_unknown_backbones_and_widths_are_refused(name, width):
    with pytest.raises(ValueError, match="expected a"):
        build_backbone(name, width=width)


def test_features_of_dlibs_trunk_know_where_they_were_seen():
    trunk = build_backbone("dlib_resnet29", width=0.25).eval()
    images = torch.rand(2, 3, 112, 112)
    maps = trunk.stages(images)
    assert [m.shape[-1] for m in maps] == [26, 13, 6, 3]
    features = trunk(images)
    torch.testing.assert_close(features.unflatten(1, (-1, 9)).mean(-1), maps[-1].mean((2, 3)))
    corner = images.clone()
    corner[:, :, :20, :20] = 0.0
    moved = (trunk(corner) - features).abs().unflatten(1, (-1, 9)).sum((0, 1))
    assert moved[0] > 0
    assert moved.argmax() == 0
