"""The optimisers: the steps of torch's, and fewer calls."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from gudlearn.training.optimizers import AdamW, Muon, orthogonalized

SHAPES = [(8, 8), (8, 8), (12, 5), (5, 12), (8, 8)]


def matrices(shapes, seed=0):
    """Parameters and their gradients of three steps."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return [torch.randn(shape, generator=generator) for shape in shapes]

    return [nn.Parameter(value) for value in draw()], [draw() for _ in range(3)]


def after(optimizer, parameters, gradients):
    """Parameters after steps of an optimiser, which is called with a factor of 1/2."""
    for of_step in gradients:
        for parameter, gradient in zip(parameters, of_step, strict=True):
            parameter.grad = gradient.clone()
        optimizer(0.5)
    return [p.detach() for p in parameters]


def test_adamw_is_torchs():
    parameters, gradients = matrices([(8, 8), (12,), (3, 4)])
    ours = after(AdamW(parameters, 0.1, 0.2).step, parameters, gradients)
    parameters, gradients = matrices([(8, 8), (12,), (3, 4)])
    theirs = torch.optim.AdamW(parameters, lr=0.05, betas=(0.9, 0.98), weight_decay=0.2)
    for found, expected in zip(
        ours, after(lambda _: theirs.step(), parameters, gradients), strict=True
    ):
        torch.testing.assert_close(found, expected)


def test_adamw_leaves_what_has_no_gradient():
    parameters, _ = matrices([(2, 2), (2, 2)])
    before = [p.detach().clone() for p in parameters]
    parameters[0].grad = torch.ones(2, 2)
    AdamW(parameters, 0.1, 0.2).step()
    assert not torch.equal(parameters[0], before[0]) and torch.equal(parameters[1], before[1])
    AdamW(parameters[1:], 0.1, 0.2).step()
    assert torch.equal(parameters[1], before[1])


def test_muon_is_torchs_for_matrices_of_several_shapes():
    parameters, gradients = matrices(SHAPES)
    ours = after(Muon(parameters, 0.1, 0.2).step, parameters, gradients)
    parameters, gradients = matrices(SHAPES)
    theirs = torch.optim.Muon(parameters, lr=0.05, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    moved = after(lambda _: theirs.step(), parameters, gradients)
    for found, expected, start in zip(ours, moved, matrices(SHAPES)[0], strict=True):
        step = float((expected - start.detach()).square().mean().sqrt())
        # torch's is in bfloat16, with a relative error of 1/256 in each of 15 products.
        assert float((found - expected).square().mean().sqrt()) < 0.1 * step


@pytest.mark.parametrize("shape", [(3, 20, 20), (2, 30, 10), (2, 10, 30)])
def test_singular_values_become_about_one(shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    values = torch.linalg.svdvals(orthogonalized(x).double())
    # The smallest one of a square matrix may be too small to grow to 1 in five steps.
    assert values.max() < 1.3 and values[:, : shape[1] // 4].min() > 0.6
    # The factors of the singular value decomposition stay.
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    inner = u.mT @ orthogonalized(x).float() @ v.mT
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert float(off.abs().max()) < 0.1


def test_a_fit_does_not_import_the_compiler():
    code = (
        "import sys, numpy as np\n"
        "from gudlearn import GUDGenerator\n"
        "GUDGenerator(max_iter=1).fit(np.random.default_rng(0).normal(size=(50, 3)))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
