import copy
import dataclasses
import itertools
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.training import with_torchs_layers
from cellcount_lib.errors import InputError
from cellcount_lib.models import (
    MODELS,
    ModelConfig,
    SegmentationModel,
    build,
    from_config,
)
from cellcount_lib.models.base import up
from cellcount_lib.models.measure import count_flops, count_parameters, receptive_field

every_model = pytest.mark.parametrize("name", MODELS)

# Multiples of nothing, both smaller and larger than what the poolings ask for.
SIZES = [(1, 1), (3, 40), (45, 50), (64, 48)]


@pytest.fixture(scope="module")
def networks():
    """All networks in evaluation mode, with running statistics that are not 0 and 1."""
    built = {}
    for name in MODELS:
        model = build(name, bn_momentum=1.0)
        with torch.no_grad():
            model(torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(1)))
        built[name] = model.eval()
    return built


def image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- size ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "channels", "published"),
    [
        ("c-resunet", (3, 1), 1_707_287),
        ("resunet", (3, 1), 887_601),
        ("unet", (3, 1), 14_051_553),
        ("small-unet", (3, 1), 879_033),
        ("fcn", (1, 2), 1_365_794),
    ],
)
def test_parameter_counts_are_the_published_ones(name, channels, published):
    assert count_parameters(build(name, *channels)) == published


def conv(kernel, inside, outside):
    return kernel * kernel * inside * outside + outside


def bn(channels):
    return 2 * channels


def residual(inside, outside, kernel=3):
    main = bn(inside) + conv(kernel, inside, outside) + bn(outside) + conv(kernel, outside, outside)
    return main + (conv(1, inside, outside) if inside != outside else 0)


def decoder(inside, outside):
    joined = (
        bn(2 * outside) + conv(3, 2 * outside, outside) + bn(outside) + conv(3, outside, outside)
    )
    return conv(2, inside, outside) + joined


def unet_by_hand(w):
    twice = lambda i, o, k=3: conv(k, i, o) + conv(k, o, o)  # noqa: E731
    down = twice(3, w) + twice(w, 2 * w) + twice(2 * w, 4 * w) + twice(4 * w, 8 * w)
    up = sum(conv(2, 2 * o, o) + twice(2 * o, o) for o in (8 * w, 4 * w, 2 * w, w))
    return down + twice(8 * w, 16 * w, 5) + up + conv(1, w, 1)


def test_parameter_counts_from_the_layers_of_the_papers():
    body = bn(16) + conv(3, 16, 16) + residual(16, 32) + residual(32, 64) + residual(64, 128, 5)
    body += decoder(128, 64) + decoder(64, 32) + decoder(32, 16) + conv(1, 16, 1)
    colour = conv(1, 3, 1) + bn(1)
    by_hand = {
        "resunet": conv(3, 3, 16) + body,
        "c-resunet": colour + conv(3, 1, 16) + body + residual(128, 128, 5),
        "unet": unet_by_hand(32),
        "small-unet": unet_by_hand(8),
        "fcn": sum(
            conv(3, i, o) for i, o in itertools.pairwise((3, 32, 64, 128, 512, 128, 64, 32, 1))
        ),
    }
    assert {name: count_parameters(build(name)) for name in MODELS} == by_hand


def test_frozen_parameters_are_not_counted():
    model = build("small-unet")
    before = count_parameters(model)
    model.head.requires_grad_(False)
    assert count_parameters(model) == before - 9


def test_forward_cost_is_the_published_one():
    assert count_flops(build("c-resunet")) / 1e9 == pytest.approx(28.5, rel=0.01)


def test_forward_cost_by_hand():
    # 16x16 pixels in, two operations per weight and output pixel; biases are free.
    pixels = [16 * 16, 8 * 8, 4 * 4, 2 * 2, 4 * 4, 8 * 8, 16 * 16, 16 * 16]
    weights = [3 * 32, 32 * 64, 64 * 128, 128 * 512, 512 * 128, 128 * 64, 64 * 32, 32]
    expected = sum(2 * 9 * n * w for n, w in zip(pixels, weights, strict=True))
    assert count_flops(build("fcn"), size=(16, 16)) == expected


# --- receptive field ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        # (kernel - 1) * step between neighbours in pixels, summed over convolutions and poolings
        ("fcn", 1 + 2 + 1 + 2 * 2 + 2 + 4 * 2 + 4 + 8 * 2),
        ("resunet", 1 + 4 + 1 + 2 * 4 + 2 + 4 * 4 + 4 + 8 * 8),
        ("c-resunet", 1 + 4 + 1 + 2 * 4 + 2 + 4 * 4 + 4 + 8 * 16),
        ("unet", 1 + 4 + 1 + 2 * 4 + 2 + 4 * 4 + 4 + 8 * 4 + 8 + 16 * 8),
        ("small-unet", 1 + 4 + 1 + 2 * 4 + 2 + 4 * 4 + 4 + 8 * 4 + 8 + 16 * 8),
    ],
)
def test_receptive_field_of_the_deepest_map(name, by_hand):
    assert receptive_field(name) == by_hand


def test_receptive_field_of_the_fcn_is_what_s2_states():
    assert receptive_field("fcn") == 38


def twice(kernel=3):
    return [kernel, kernel]


def encoder_and_decoder(levels, bottleneck, down, up):
    return [*down, "pool"] * levels + bottleneck + ["up", *up] * levels


@pytest.mark.parametrize(
    ("name", "deepest_way"),
    [
        ("fcn", [*encoder_and_decoder(3, [3], [3], [3]), 3]),
        ("resunet", encoder_and_decoder(3, twice(5), twice(), twice())),
        ("c-resunet", encoder_and_decoder(3, twice(5) * 2, twice(), twice())),
        ("small-unet", encoder_and_decoder(4, twice(5), twice(), twice())),
    ],
)
def test_receptive_field_of_the_output(name, deepest_way):
    fields = []
    for position in range(16):  # backwards, the span of indices that each layer reads
        first = last = position + 1000 * 16
        for layer in reversed(deepest_way):
            if layer == "pool":
                first, last = 2 * first, 2 * last + 1
            elif layer == "up":
                first, last = first // 2, last // 2
            else:
                first, last = first - layer // 2, last + layer // 2
        fields.append(last - first + 1)
    assert receptive_field(name, at="output") == max(fields)


def test_receptive_field_of_a_chain_is_the_sum_of_its_layers():
    class Chain(SegmentationModel):
        multiple = 4

        def __init__(self):
            super().__init__(ModelConfig("chain", in_channels=1))
            self.bottleneck = nn.Sequential(
                nn.Conv2d(1, 2, 5, padding=2), nn.MaxPool2d(2), nn.BatchNorm2d(2),
                nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
            )  # fmt: skip
            self.up = nn.Upsample(scale_factor=4)

        def segment(self, x):
            return self.up(self.bottleneck(x))[:, :1]

    # 5 pixels, then 1 for the pooling, 2 steps of 2, 1 step of 2 for the second pooling
    assert receptive_field(Chain()) == 5 + 1 + 2 * 2 + 2
    assert receptive_field(Chain(), at="output") == 5 + 1 + 2 * 2 + 2


def test_receptive_field_of_an_unknown_place():
    with pytest.raises(InputError, match=r"'botleneck'; did you mean 'bottleneck'"):
        receptive_field("fcn", at="botleneck")


# --- what goes in and comes out -----------------------------------------------------------------


@every_model
@pytest.mark.parametrize("size", SIZES)
def test_any_image_size(networks, name, size):
    assert networks[name](image(1, 3, *size)).shape == (1, 1, *size)


@every_model
def test_padding_repeats_the_border_and_is_cut_off(networks, name):
    model, x = networks[name], image(2, 3, 45, 50)
    right = {8: 6, 16: 14}[model.multiple]  # 50 to 56 or 64; 45 to 48 for both
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (0, 3), (0, right)], mode="edge")
    expected = model(torch.from_numpy(padded))[..., :45, :50]
    assert torch.allclose(model(x), expected, atol=1e-5)


@every_model
def test_images_of_a_batch_do_not_mix_in_evaluation(networks, name):
    model, x = networks[name], image(3, 3, 32, 32)
    assert torch.allclose(model(x)[1:2], model(x[1:2]), atol=1e-4)


@every_model
def test_gradients_reach_every_parameter(name):
    model = build(name, in_channels=2, out_channels=2)
    model(image(2, 2, 32, 32)).square().mean().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert all(p.grad.abs().sum() > 0 for n, p in model.named_parameters() if n.endswith("weight"))


@every_model
def test_logits_are_not_squeezed_by_an_activation(networks, name):
    model = copy.deepcopy(networks[name])
    with torch.no_grad():
        model.head.bias.fill_(-500.0)
        assert model(image(1, 3, 16, 16)).max() < -100


@pytest.mark.parametrize(
    "x",
    [
        image(3, 32, 32),
        image(1, 4, 32, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_wrong_images_are_refused(networks, x):
    with pytest.raises(InputError, match=r"image: expected a floating-point tensor \(N, 3, H, W\)"):
        networks["resunet"](x)


# --- configuration ------------------------------------------------------------------------------


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="unknown model 'c-resnet'; did you mean 'c-resunet'"):
        build("c-resnet")


@pytest.mark.parametrize(
    "setting",
    [{"in_channels": 0}, {"out_channels": 1.5}, {"in_channels": True}, {"bn_momentum": 0.0}],
)
def test_bad_configuration_is_named(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        ModelConfig("unet", **setting)


@every_model
def test_configuration_travels_with_the_weights(name):
    model = build(name, in_channels=2, out_channels=2, bn_momentum=0.1, seed=5)
    saved = {"config": dataclasses.asdict(model.config), "weights": model.state_dict()}
    again = from_config(ModelConfig(**saved["config"]))
    assert again.config == model.config
    again.load_state_dict(saved["weights"])
    x = image(1, 2, 16, 16)
    assert torch.equal(again.eval()(x), model.eval()(x))


def test_batch_norm_as_in_keras_unless_told_otherwise():
    for settings, momentum in [({}, 0.01), ({"bn_momentum": 0.1}, 0.1)]:
        layers = build("c-resunet", **settings).modules()
        found = {(m.eps, m.momentum) for m in layers if isinstance(m, nn.BatchNorm2d)}
        assert found == {(1e-3, momentum)}


# --- initial weights ----------------------------------------------------------------------------


def test_weights_depend_on_the_seed_and_on_nothing_else():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build("small-unet", seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, other = build("small-unet", seed=3).state_dict(), build("small-unet", seed=4)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.weight"], other.state_dict()["head.weight"])


@pytest.mark.parametrize("name", ["c-resunet", "resunet", "unet", "small-unet"])
def test_convolutions_start_as_he_normal_of_keras(name):
    for module in build(name).modules():
        if isinstance(module, nn.Conv2d):
            assert not module.bias.any()
            kernel = module.kernel_size[0]
            std = np.sqrt(2 / (kernel * kernel * module.in_channels))
            assert module.weight.abs().max() <= 2 * std / 0.8796
            if module.weight.numel() > 2000:
                assert module.weight.std().item() == pytest.approx(std, rel=0.06)
        elif isinstance(module, nn.ConvTranspose2d):
            assert not module.bias.any()
            limit = np.sqrt(6 / (4 * (module.in_channels + module.out_channels)))
            assert module.weight.abs().max() <= limit
            if module.weight.numel() > 2000:
                assert module.weight.std().item() == pytest.approx(limit / np.sqrt(3), rel=0.06)


def test_fcn_starts_as_xavier():
    for module in build("fcn").modules():
        if isinstance(module, nn.Conv2d):
            assert not module.bias.any()
            limit = np.sqrt(6 / (9 * (module.in_channels + module.out_channels)))
            assert 0.9 * limit < module.weight.abs().max() <= limit


# --- precisions, layouts, compilers -------------------------------------------------------------


def close(result, reference, relative):
    assert result.shape == reference.shape
    scale = reference.abs().max()
    assert (result.float() - reference).abs().max() <= relative * scale


@every_model
def test_fast_layers_give_logits_and_gradients_of_torchs_own(name):
    ours = build(name)
    theirs = with_torchs_layers(copy.deepcopy(ours))
    x = image(2, 3, 48, 48)
    for model in (ours, theirs):
        model(x).square().mean().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert float((a.grad - b.grad).norm()) <= 1e-4 * float(b.grad.norm()) + 1e-6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "away"), [(torch.float64, 1e-14), (torch.float32, 1e-5), (torch.bfloat16, 0.01)]
)
def test_doubling_is_torchs_transposed_convolution(dtype, away, layout):
    ours = up(6, 3).to(dtype=dtype, memory_format=layout)
    x = image(2, 6, 5, 7, seed=1).to(dtype=dtype, memory_format=layout).requires_grad_()
    theirs = F.conv_transpose2d(x, ours.weight, ours.bias, stride=2)
    made = ours(x)
    assert made.dtype == dtype
    g = image(2, 3, 10, 14, seed=2).to(dtype)
    asked = (x, ours.weight, ours.bias)
    pairs = zip(
        torch.autograd.grad(made, asked, g), torch.autograd.grad(theirs, asked, g), strict=True
    )
    for a, b in [(made, theirs), *pairs]:
        assert a.shape == b.shape
        assert (a - b).abs().max() <= away * b.abs().max()
    assert made.is_contiguous(memory_format=torch.channels_last)


@every_model
def test_channels_last(networks, name):
    x = image(2, 3, 45, 50)
    model = copy.deepcopy(networks[name]).to(memory_format=torch.channels_last)
    close(model(x.to(memory_format=torch.channels_last)), networks[name](x), 1e-5)


@every_model
@pytest.mark.parametrize(("dtype", "relative"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_autocast(networks, name, dtype, relative):
    model, x = copy.deepcopy(networks[name]), image(1, 3, 45, 50)
    reference = model(x).detach()
    with torch.autocast("cpu", dtype=dtype):
        logits = model(x)
    assert logits.dtype == dtype
    close(logits.detach(), reference, relative)
    logits.float().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ["c-resunet", "small-unet", "fcn"])  # one of each class
def test_compiles_for_changing_sizes(networks, name):
    torch._dynamo.reset()
    model = networks[name]
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for shape in [(1, 3, 45, 50), (2, 3, 33, 64)]:
            assert torch.allclose(compiled(image(*shape)), model(image(*shape)), atol=1e-4)


@pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")), reason="inductor needs a C compiler"
)
def test_compiles_to_native_code(networks):
    """Every kind of layer of c-ResUnet, in a network of one pooling: more of them take longer."""
    torch._dynamo.reset()

    class Shallow(nn.Module):
        def __init__(self, of):
            super().__init__()
            self.of = of

        def forward(self, x):
            near = self.of.encoder1(self.of.colour(x))
            return self.of.head(self.of.decoder1(self.of.encoder2(self.of.pool(near)), near))

    model, x = Shallow(networks["c-resunet"]), image(1, 3, 46, 50)
    with torch.no_grad():
        assert torch.allclose(torch.compile(model)(x), model(x), atol=1e-4)


def any_size():
    dynamic = torch.export.Dim.DYNAMIC
    return {"image": {0: dynamic, 2: dynamic, 3: dynamic}}


@every_model
def test_torch_export_keeps_all_sizes_open(networks, name):
    model = networks[name]
    program = torch.export.export(model, (image(2, 3, 40, 56),), dynamic_shapes=any_size())
    for shape in [(2, 3, 40, 56), (1, 3, 33, 47), (3, 3, 64, 64)]:
        x = image(*shape)
        assert torch.allclose(program.module()(x), model(x), atol=1e-4)
