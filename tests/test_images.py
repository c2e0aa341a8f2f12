"""Models of images: likelihood, samples, training and symmetry."""

import pickle

import numpy as np
import pytest
import torch

from gudlearn import PCABasis, SequentialSchedule, SoftConditioningSchedule, Transformer, UNet
from gudlearn.data.images import read_images
from gudlearn.data.rows import Rows
from gudlearn.nn.layers import Conv
from gudlearn.training.options import make_trainer
from gudlearn.training.sources import rows_on_device
from small import random_images, small, tiny


def gaussian_pixels(n=4000, shape=(2, 2, 1), seed=0):
    """Correlated normal pixels with a standard deviation of 12 bins, rounded."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixing = 12 * (np.eye(size) + 0.4 * np.ones((size, size))) / 1.5
    return np.rint(128 + rng.normal(size=(n, size)) @ mixing.T).astype(np.uint8).reshape(n, *shape)


def test_an_untrained_model_is_the_gaussian_of_its_basis():
    X = gaussian_pixels()
    gen = tiny(basis="pca", preconditioning="gaussian", max_iter=0).fit(X)
    rows = X.reshape(len(X), -1).astype(float)
    covariance = np.cov(rows.T, bias=True)
    off = rows - rows.mean(0)
    squares = np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
    log_density = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
    gap = gen.score_samples(X[:200]) - log_density[:200]
    # The bound ends at noise of 0.35 bins: 0.008 nats a pixel, and the nll of bins given it.
    assert -0.06 < gap.mean() < 0
    assert gap.std() < 0.03


def test_bins_observed_through_noise_and_dequantised_bins_agree():
    X = gaussian_pixels()

    class Correlated(PCABasis):
        def noise_std(self, column_std):
            return None

    scores = []
    for basis in (PCABasis(), Correlated()):
        gen = tiny(basis=basis, preconditioning="gaussian", max_iter=0).fit(X)
        scores.append(gen.score_samples(X[:300]).mean() / (4 * np.log(2)))
    assert gen.state_.encoding.dequantised.all()
    # White noise of 0.35 bins costs 0.011 bits, dequantisation 0.001 at this width. Its draws leave
    # a standard error of 0.0004.
    assert scores[1] - scores[0] == pytest.approx(0.010, abs=0.003)
    trained = tiny(basis=Correlated(), max_iter=2).fit(X[:200])
    assert np.isfinite(trained.score_samples(X[:3])).all()


def test_wide_images_of_many_bins_score_the_entropy_of_their_pixels():
    rng = np.random.default_rng(0)
    X, new = (np.rint(rng.normal(128, 12, (n, 33, 32))).astype(np.uint8) for n in (300, 10))
    gen = tiny(max_iter=0, preconditioning="marginal").fit(X)
    # Marginals of so many pixels are not point masses.
    assert gen.state_.encoding.is_wide and not gen.state_.encoding.point_masses.any()
    # Over 10560 pixels the standard errors are 0.01 bits, and 0.7 % of the standard deviation.
    entropy = np.log2(12 * np.sqrt(2 * np.pi * np.e))
    assert gen.bits_per_dim(new) == pytest.approx(entropy, abs=0.06)
    drawn = gen.sample(10).astype(float)
    assert drawn.std() == pytest.approx(12, rel=0.05)
    assert gen.set_params(max_iter=1).fit(X[:20]).n_iter_ == 1


def test_a_compiled_network_of_images_learns_the_same(monkeypatch):
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: original(module, backend="eager"))
    X = random_images(40, (4, 4, 1))
    settings = {
        "basis": "wavelet", "network": UNet(width=8, mirror=True, dropout=0.0), "max_iter": 3,
        "validation_fraction": 0, "precision": "bf16",
    }  # fmt: skip
    gen, plain = small(compile=True, **settings).fit(X), small(**settings).fit(X)
    np.testing.assert_allclose(gen.loss_curve_, plain.loss_curve_, rtol=1e-2)


def test_bfloat16_scores_as_float32_does():
    X = random_images(100, (8, 8, 1))
    gen = tiny(basis="wavelet", max_iter=6, precision="bf16").fit(X)
    bits, types = gen.bits_per_dim(X[:32]), set()

    def note(module, inputs, output):
        types.add(output.dtype)

    for precision in ("bf16", "fp32"):
        model = gen.set_params(precision=precision).fitted_model().components
        types.clear()
        for module in model.denoiser.network.network.modules():
            if isinstance(module, Conv):
                module.register_forward_hook(note)
        with torch.no_grad(), model.arithmetic():
            model.labelled()(torch.zeros(2, 64), torch.zeros(2, 64))
        assert (torch.bfloat16 in types) == (precision == "bf16")
    assert gen.set_params(precision="fp32").bits_per_dim(X[:32]) == pytest.approx(bits, abs=0.005)


def test_scores_of_images_do_not_depend_on_the_other_images():
    X = random_images(150, (4, 4, 1))
    gen = tiny(max_iter=2).fit(X)
    scores = gen.score_samples(X)
    order = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(gen.score_samples(X[order]), scores[order], rtol=0, atol=1e-4)
    np.testing.assert_allclose(gen.score_samples(X[7:9]), scores[7:9], rtol=0, atol=1e-4)


def test_samples_of_images_depend_on_seed_and_index_alone():
    gen = tiny(max_iter=2).fit(random_images(40, (4, 4, 1)))
    many = gen.sample(70, random_state=5)
    np.testing.assert_array_equal(gen.sample(3, random_state=5), many[:3])
    assert len(np.unique(many.reshape(70, -1), axis=0)) == 70


def test_constant_pixels_come_back_and_contribute_nothing():
    X = random_images(40, (4, 4, 1))
    X[:, 0] = 7
    for basis in ("identity", "pca", "wavelet"):
        gen = tiny(basis=basis, max_iter=1).fit(X)
        assert (gen.sample(5)[:, 0] == 7).all()
        # The last columns are the log-probabilities of bins.
        bins = gen.score_components(X[:5])[:, -16:]
        np.testing.assert_allclose(bins[:, :4], 0, atol=1e-2)


def test_images_survive_pickling_and_cloning():
    X = random_images(30)
    gen = tiny(max_iter=1, basis="fourier").fit(X)
    again = pickle.loads(pickle.dumps(gen))
    np.testing.assert_array_equal(again.score_samples(X), gen.score_samples(X))
    np.testing.assert_array_equal(again.sample(2), gen.sample(2))


def test_images_are_warm_started_and_fitted_in_parts():
    X = random_images(40, (4, 4, 1))
    gen = tiny(max_iter=1, warm_start=True).fit(X)
    assert gen.fit(X).n_iter_ == 2
    parts = tiny().partial_fit(X[:20]).partial_fit(X[20:])
    assert parts.n_iter_ == 2 and parts.sample(2).shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    "schedule", [SoftConditioningSchedule(0.5), SequentialSchedule(order=np.arange(16) % 4)]
)
def test_the_schedule_of_a_model_of_images_may_be_replaced(schedule):
    X = random_images(60, (4, 4, 1))
    gen = tiny(max_iter=2).fit(X)
    gen.schedule_ = schedule
    assert np.isfinite(gen.score_samples(X[:3])).all()
    assert gen.sample(2).shape == (2, 4, 4, 1)


def test_flips_mirror_half_of_the_images():
    X = random_images(40, (2, 4, 1))
    X[..., 2:, :] //= 4
    gen = tiny(random_flips=True, max_iter=1).fit(X)
    trainer = make_trainer(gen, gen.state_, len(X), 0)
    rows = rows_on_device(gen.state_, Rows.of(X.reshape(40, -1)), trainer, flips=True)
    index = torch.zeros(400, dtype=torch.long)
    z = rows.take(index, trainer.generator).x0
    pixels = gen.basis_.inverse_transform(z.double().numpy()).reshape(400, 2, 4)
    first = X[0, ..., 0].astype(float)
    is_plain = np.abs(pixels - first).max((1, 2)) < 0.01
    is_mirrored = np.abs(pixels - first[:, ::-1]).max((1, 2)) < 0.01
    # Five standard errors of a binomial number are 50.
    assert (is_plain ^ is_mirrored).all() and 150 <= is_plain.sum() <= 250
    again = gen.basis_.inverse_transform(rows.components(index[:1]).double().numpy())
    np.testing.assert_allclose(again.reshape(2, 4), first, atol=0.01)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "g", "i4", "u2"])
def test_training_and_scores_see_the_same_components(dtype):
    # So large that float32 does not hold the differences between images.
    offset = 1e7 if np.dtype(dtype).itemsize > 4 or dtype == "i4" else 100
    X = (random_images(30, (4, 4, 1)).astype(np.float64) + offset).astype(dtype)
    gen = tiny(max_iter=1).fit(X)
    assert gen.sample(2).dtype == X.dtype
    rows, _ = read_images(X, None)
    trainer = make_trainer(gen, gen.state_, 30, 0)
    source = rows_on_device(gen.state_, Rows.of(rows), trainer, flips=False)
    found = source.components(torch.arange(30))
    expected = gen.basis_.transform(rows)[:, gen.state_.encoding.ends.active]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def mirrored(rows, shape):
    """Flat images, a tensor, mirrored left to right."""
    return rows.view(-1, *shape).flip(2).flatten(1)


@pytest.mark.parametrize("network", [UNet(width=8, mirror=True), Transformer(32, 1, mirror=True)])
def test_a_mirror_network_is_equivariant_under_reflections(network):
    shape = (4, 6, 3)
    X = random_images(40, shape)
    X = np.concatenate([X, X[:, :, ::-1]])
    gen = tiny(network=network, basis="identity", max_iter=0, preconditioning="gaussian").fit(X)
    denoise = gen.fitted_model().components.denoiser
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 72, generator=generator)
    gamma = torch.randn(5, 1, generator=generator).expand(-1, 72)
    off = {}
    with torch.no_grad():
        for weights in denoise.network.parameters():
            weights.normal_(0, 0.2, generator=generator)
        for denoise.network.mirror in (True, False):
            x0 = denoise(x, gamma)
            other = denoise(mirrored(x, shape), gamma)
            off[denoise.network.mirror] = float((other - mirrored(x0, shape)).norm() / x0.norm())
    assert off[True] < 1e-5 < 0.1 < off[False]


def test_in_training_a_mirror_network_sees_one_of_two_reflections():
    spec = UNet(width=8, dropout=0.0, mirror=True)
    gen = tiny(network=spec, max_iter=0).fit(random_images(40, (4, 6, 1)))
    network = gen.fitted_model().components.denoiser.network
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.normal_(0, 0.2, generator=generator)
    first = torch.randn(1, 3, 4, 6, generator=generator)
    condition = torch.randn(1, network.condition.out_features, generator=generator)
    plain = network.network(first, condition)
    turned = network.network(first.flip(3), condition).flip(3)
    torch.testing.assert_close(network._both_ways(first, condition), (plain + turned) / 2)
    network.train()
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        many = network._both_ways(first.expand(200, -1, -1, -1), condition.expand(200, -1))
    is_plain = (many - plain).abs().amax((1, 2, 3)) < 1e-5
    is_turned = (many - turned).abs().amax((1, 2, 3)) < 1e-5
    # Five standard errors of a binomial number are 35.
    assert (is_plain ^ is_turned).all() and 64 < is_plain.sum() < 136


def test_images_stay_in_their_dtype_on_the_device():
    X = random_images(20)
    gen = tiny(max_iter=0).fit(X)
    trainer = make_trainer(gen, gen.state_, 20, 0)
    source = rows_on_device(gen.state_, Rows.of(X.reshape(20, -1)), trainer, flips=False)
    kept = [v for v in vars(source).values() if isinstance(v, torch.Tensor) and len(v) == 20]
    assert [v.dtype for v in kept] == [torch.uint8]
