"""The fast ELU against its definition in double precision, and torch's gradient."""

import pytest
import torch
from torch.nn import functional as F

from cellcount_lib.models.elu import ELU

EDGES = [0.0, -0.0, 1e-30, -1e-30, -1e-4, -0.5, -1.0, -20.0, -1e4, 1e4, float("inf"), -float("inf")]


def numbers(dtype):
    random = 3 * torch.randn(2, 4, 33, 17, generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.tensor(EDGES), random.flatten()]).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "away"), [(torch.float64, 1e-15), (torch.float32, 1e-7), (torch.bfloat16, 0.003)]
)
def test_values(dtype, away):
    x = numbers(dtype)
    expected = torch.where(x > 0, x.double(), torch.expm1(x.double()))
    y = ELU()(x)
    assert y.dtype == dtype
    below = x <= 0
    torch.testing.assert_close(y[below].double(), expected[below], rtol=0, atol=away)
    assert torch.equal(y[~below], x[~below])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient(dtype):
    x = numbers(dtype).requires_grad_()
    weights = torch.linspace(-2, 2, x.numel()).to(dtype)
    (ours,) = torch.autograd.grad(ELU()(x), x, weights)
    (theirs,) = torch.autograd.grad(F.elu(x), x, weights)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-7 if dtype == torch.float32 else 0.02)


def test_the_input_stays_as_it_is():
    x = numbers(torch.float32)
    before = x.clone()
    ELU()(x)
    assert torch.equal(x, before)


def test_not_a_number_stays_one():
    assert ELU()(torch.tensor([float("nan")])).isnan().all()


def test_memory_format_is_kept():
    x = torch.randn(2, 8, 5, 7).to(memory_format=torch.channels_last)
    assert ELU()(x).is_contiguous(memory_format=torch.channels_last)
