"""Densities behind transformations: scores and samples in the units of the data."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from gudlearn import GUDGenerator, MarginalGaussianizer, Schema
from gudlearn.bases import BlockBasis, FourierBasis, IdentityBasis, PCABasis, WaveletBasis
from gudlearn.pipeline import GenerativePipeline
from small import small


class Sinh(TransformerMixin, BaseEstimator):
    """A third-party transformer with a determinant per row."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.sinh(np.asarray(X))

    def inverse_transform(self, Z):
        return np.arcsinh(Z)

    def log_abs_det_jacobian(self, X):
        return np.log(np.cosh(X)).sum(axis=1)


class Double(TransformerMixin, BaseEstimator):
    """A third-party transformer with one determinant, known after fit."""

    log_abs_det_jacobian_: float

    def fit(self, X, y=None):
        self.log_abs_det_jacobian_ = np.shape(X)[1] * np.log(2.0)
        return self

    def transform(self, X):
        return 2 * np.asarray(X)

    def inverse_transform(self, Z):
        return Z / 2


class Product(BaseEstimator):
    """A stand-in: independent columns of one distribution of SciPy."""

    def __init__(self, distribution="norm", bin_width="auto", random_state=None):
        self.distribution = distribution
        self.bin_width = bin_width
        self.random_state = random_state

    def fit(self, X, y=None):
        self.width_ = np.shape(X)[1]
        return self

    def score_samples(self, X):
        return getattr(stats, self.distribution).logpdf(X).sum(axis=1)

    def sample(self, n_samples=1, *, random_state=None):
        size = (n_samples, self.width_)
        return getattr(stats, self.distribution).rvs(size=size, random_state=random_state)


def pipe(*steps, final=None, **parameters):
    named = [(f"step{i}", step) for i, step in enumerate(steps)]
    final = GaussianMixture(2, random_state=0) if final is None else final
    return GenerativePipeline([*named, ("final", final)], **parameters)


# The probability of five standard errors in a normal distribution, on both sides.
FIVE_SIGMA = 5.7e-7
rng = np.random.default_rng(0)
# Positive, skewed, correlated, in very different units.
X = np.exp(rng.normal(size=(300, 2)) @ [[1.0, 0.4], [0.0, 0.5]]) * [1.0, 50.0] + [0.1, 3.0]
COUNTS = rng.poisson([3.0, 7.0, 1.0], size=(200, 3))

STEPS = [
    StandardScaler(),
    StandardScaler(with_std=False),
    MinMaxScaler(feature_range=(-2, 3)),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_scaling=False),
    RobustScaler(unit_variance=True, with_centering=False),
    PowerTransformer(),
    PowerTransformer(standardize=False),
    PowerTransformer(method="box-cox"),
    PowerTransformer(method="box-cox", standardize=False),
    QuantileTransformer(n_quantiles=20),
    QuantileTransformer(n_quantiles=20, output_distribution="normal"),
    PCA(),
    PCA(n_components=2, whiten=True),
    FunctionTransformer(),
    IdentityBasis(),
    PCABasis(whiten=0.5),
    FourierBasis(),
    WaveletBasis(),
    BlockBasis(),
    Sinh(),
    Double(),
    "passthrough",
    None,
    make_pipeline(StandardScaler(), make_pipeline(PowerTransformer(), "passthrough")),
]


def numerical_log_det(transform, X):
    """Central differences of a map from R^F to R^F, a relative step of 1e-6."""
    jacobian = np.empty((len(X), X.shape[1], X.shape[1]))
    for column in range(X.shape[1]):
        step = np.zeros_like(X)
        step[:, column] = 1e-6 * np.maximum(np.abs(X[:, column]), 1e-2)
        jacobian[:, :, column] = (transform(X + step) - transform(X - step)) / (
            2 * step[:, [column]]
        )
    return np.linalg.slogdet(jacobian)[1]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_log_determinant_is_that_of_the_numerical_jacobian(step):
    data = X * [0.3, 0.006] if isinstance(step, Sinh) else X
    model = pipe(clone(step) if hasattr(step, "fit") else step, final=Product()).fit(data)
    rows = data[(data > np.quantile(data, 0.01, axis=0)).all(axis=1)]
    rows = rows[(rows < np.quantile(data, 0.99, axis=0)).all(axis=1)][:100]

    def transform(X):
        return np.asarray(model[:-1].transform(X))

    difference = model.score_samples(rows) - model[-1].score_samples(transform(rows))
    # Rounding 1e-16/1e-6 and, in kinks of the piecewise linear maps, their whole slope: the kinks
    # are avoided by dropping rows whose two one-sided slopes differ.
    numerical = numerical_log_det(transform, rows)
    smooth = np.abs(numerical_log_det(transform, rows * (1 + 1e-6)) - numerical) < 1e-3
    assert smooth.mean() > 0.9
    np.testing.assert_allclose(difference[smooth], numerical[smooth], atol=2e-6, rtol=0)


@pytest.mark.parametrize("lambda_", [-1.5, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_power_transformer_on_both_sides_of_zero(lambda_):
    data = rng.normal(size=(50, 2))
    model = pipe(PowerTransformer(), final=Product()).fit(data)
    model["step0"].lambdas_[:] = lambda_
    rows = np.array([[-2.0, -0.3], [0.4, 3.0], [-1.0, 1.0], [0.0, 0.0]])
    difference = model.score_samples(rows) - model[-1].score_samples(model[0].transform(rows))
    expected = numerical_log_det(model[0].transform, rows)
    np.testing.assert_allclose(difference, expected, atol=1e-7)


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_density_in_one_dimension_integrates_to_one(step):
    if isinstance(step, PCA) and step.n_components:
        step = PCA(whiten=True)
    data = X[:, :1] * (0.1 if isinstance(step, Sinh) else 1.0)
    uniform = isinstance(step, QuantileTransformer) and step.output_distribution == "uniform"
    final = Product("uniform") if uniform else GaussianMixture(2, random_state=0)
    model = pipe(clone(step) if hasattr(step, "fit") else step, final=final).fit(data)
    # The transformer's own inverse gives a fine grid where the density moves fast.
    positive = isinstance(step, PowerTransformer) and step.method == "box-cox"
    grid = np.linspace(1e-9 if positive else -40, 60, 100_001)[:, None]
    if isinstance(step, QuantileTransformer):
        grid = np.linspace(data.min(), data.max(), 200_001)[:, None]
    density = np.exp(model.score_samples(grid))
    # Mass that the last step puts outside the transformer's image is missing (see Notes).
    expected = 1.0
    if isinstance(step, PowerTransformer | Pipeline):
        edges = model[:-1].transform([[1e-12 if positive else -1e12], [1e12]])
        parts = model[-1]
        normal = stats.norm(parts.means_[:, 0], parts.covariances_[:, 0, 0] ** 0.5)
        expected = parts.weights_ @ (normal.cdf(edges[1]) - normal.cdf(edges[0]))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    "steps", [(StandardScaler(), PCA(whiten=True)), (RobustScaler(), PCABasis()), (Double(),)]
)
def test_density_in_two_dimensions_integrates_to_one(steps):
    data = rng.normal(size=(200, 2)) @ [[1.0, 0.7], [0.0, 0.3]]
    model = pipe(*map(clone, steps)).fit(data)
    axis = np.linspace(-7, 7, 401)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.exp(model.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "scaler", [StandardScaler(), MinMaxScaler(), RobustScaler(), "passthrough"]
)
def test_score_of_an_equivariant_model_does_not_depend_on_the_scaler(scaler):
    plain = GaussianMixture(1, reg_covar=0).fit(X)
    model = pipe(scaler, final=GaussianMixture(1, reg_covar=0)).fit(X)
    np.testing.assert_allclose(model.score_samples(X), plain.score_samples(X), atol=1e-9, rtol=0)
    assert model.score(X) == pytest.approx(plain.score(X), abs=1e-9)
    assert model.bits_per_dim(X) == pytest.approx(-plain.score(X) / 2 / np.log(2), abs=1e-9)


def test_score_of_kernel_density_is_a_mean():
    model = pipe(StandardScaler(), final=KernelDensity(bandwidth=0.3)).fit(X)
    z = model[0].transform(X)
    expected = model[-1].score(z) / len(X) - np.log(model[0].scale_).sum()
    assert type(model.score(X)) is float
    assert model.score(X) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("final", [GaussianMixture(2), KernelDensity(), Product()], ids=repr)
@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_sample_inverts_the_steps(step, final):
    final = Product("uniform") if isinstance(step, QuantileTransformer) else clone(final)
    data = X * [0.3, 0.006]
    model = pipe(clone(step) if hasattr(step, "fit") else step, final=final).fit(data)
    sample = model.sample(40, random_state=1)
    assert isinstance(sample, np.ndarray) and sample.shape == (40, 2)
    assert sample.dtype == np.float64 and np.isfinite(sample).all()
    if isinstance(final, GaussianMixture):
        z = clone(final).set_params(random_state=1).fit(model[:-1].transform(data))
        z.means_, z.covariances_, z.weights_ = (
            getattr(model[-1], name) for name in ("means_", "covariances_", "weights_")
        )
        z = z.sample(40)[0]
    else:
        z = model[-1].sample(40, random_state=1)
    # Rows outside the image of a power transformer have been drawn again.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model[:-1].inverse_transform(z)
    direct = np.isfinite(expected).all(axis=1)
    assert direct.mean() > 0.2
    np.testing.assert_allclose(sample[direct], expected[direct], rtol=1e-6)


@pytest.mark.parametrize("final", [GaussianMixture(2), KernelDensity(), Product()], ids=repr)
def test_random_state_controls_one_call_and_no_global_state(final):
    model = pipe(StandardScaler(), final=clone(final)).fit(X)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    first = model.sample(5, random_state=3)
    assert np.array_equal(first, model.sample(5, random_state=3))
    assert not np.array_equal(first, model.sample(5, random_state=4))
    stream = np.random.default_rng(3)
    assert not np.array_equal(
        model.sample(5, random_state=stream), model.sample(5, random_state=stream)
    )
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert getattr(model[-1], "random_state", None) is None


def test_samples_outside_the_image_are_drawn_again():
    # A third of a normal distribution lies in [0, 1]: of a hundred draws one does.
    model = pipe(QuantileTransformer(n_quantiles=20), final=Product()).fit(X[:, :1])
    sample = model.sample(2000, random_state=0)
    assert np.isfinite(model.score_samples(sample)).all()
    assert len(np.unique(sample[:, 0])) == 2000
    assert np.array_equal(sample, model.sample(2000, random_state=0))
    z = model[0].transform(sample)
    assert stats.kstest(z.ravel(), stats.truncnorm(0, 1).cdf).pvalue > FIVE_SIGMA


def test_sample_raises_where_nothing_has_an_inverse():
    class Far(Product):
        def sample(self, n_samples=1):
            return np.full((n_samples, self.width_), 7.0)

    model = pipe(QuantileTransformer(n_quantiles=20), final=Far()).fit(X)
    with pytest.raises(RuntimeError, match="3 of 3 samples .* outside the range"):
        model.sample(3)


def test_a_last_step_without_random_state_is_named():
    class Stubborn(Product):
        def __init__(self):
            pass

        def sample(self, n_samples=1):
            return np.zeros((n_samples, self.width_))

    model = pipe(StandardScaler(), final=Stubborn()).fit(X)
    assert model.sample(2).shape == (2, 2)
    with pytest.raises(TypeError, match="Stubborn.sample takes no random_state"):
        model.sample(2, random_state=0)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5])
def test_sample_refuses_numbers_below_one(n_samples):
    with pytest.raises(ValueError, match="n_samples=.* must be a whole number"):
        pipe().fit(X).sample(n_samples)


# Containers and dtypes


@pytest.mark.parametrize("steps", [(), (StandardScaler(),), ("passthrough", PCA())], ids=repr)
def test_frames_in_frames_out(steps):
    frame = pd.DataFrame({"b": X[:, 0], "a": X[:, 1].astype(np.float32)}, index=range(7, 307))
    model = pipe(*steps).fit(frame)
    assert list(model.feature_names_in_) == ["b", "a"] and model.n_features_in_ == 2
    sample = model.sample(4)
    assert list(sample.columns) == ["b", "a"]
    assert list(sample.dtypes) == list(frame.dtypes) and len(sample) == 4
    scores = model.score_samples(frame)
    assert type(scores) is np.ndarray
    np.testing.assert_allclose(model.score_samples(frame[::-1]), scores[::-1], atol=1e-9)
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(frame[["a", "b"]])


def test_a_refit_forgets_the_names():
    model = pipe(StandardScaler()).fit(pd.DataFrame(X, columns=["a", "b"])).fit(X)
    assert not hasattr(model, "feature_names_in_")
    assert isinstance(model.sample(), np.ndarray)


def test_names_of_a_step_fitted_before_are_forgotten():
    scaler = StandardScaler().fit(pd.DataFrame(X, columns=["a", "b"]))
    assert not hasattr(pipe(scaler).fit(X), "feature_names_in_")


def test_single_precision_comes_back_and_is_scored_in_double():
    model = pipe(StandardScaler(), PowerTransformer()).fit(X.astype(np.float32))
    assert model.sample(3).dtype == np.float32
    scores = model.score_samples(X.astype(np.float32))
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(
        scores, model.score_samples(X.astype(np.float32).astype(np.float64))
    )


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, "Int16", "Float32", bool])
def test_frames_come_back_in_their_dtypes(dtype):
    values = np.minimum(COUNTS, 1) if dtype is bool else COUNTS
    frame = pd.DataFrame(values, columns=list("abc")).astype(dtype)
    model = pipe(StandardScaler(), bin_width=1.0).fit(frame)
    sample = model.sample(300, random_state=0)
    assert list(sample.dtypes) == list(frame.dtypes)
    if dtype is np.uint8:
        # A negative draw must not wrap to 255.
        assert sample.to_numpy().max() < 40
    assert np.isfinite(model.score(frame))


def test_integers_without_bins_are_a_density():
    model = pipe(StandardScaler()).fit(COUNTS)
    assert model.bin_width_ is None and model.sample(2).dtype == np.float64


def test_lists_are_accepted():
    assert pipe(StandardScaler()).fit(X.tolist()).score(X.tolist()) == pytest.approx(
        pipe(StandardScaler()).fit(X).score(X)
    )


@pytest.mark.parametrize("output", ["pandas", "polars", "default"])
def test_set_output_of_the_steps_changes_nothing(output):
    expected = pipe(StandardScaler(), PCABasis(), Pipeline([("p", PowerTransformer())])).fit(X)
    model = clone(expected).set_output(transform=output).fit(X)
    np.testing.assert_allclose(model.score_samples(X), expected.score_samples(X), atol=1e-9)
    # Frames come in another memory order, and the optimiser of powers stops at 1e-8.
    np.testing.assert_allclose(
        model.sample(3, random_state=0), expected.sample(3, random_state=0), rtol=1e-6
    )


# Bins


@pytest.mark.parametrize("width", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("steps", [(), (StandardScaler(),), (PowerTransformer(), PCABasis())])
def test_log_probability_is_a_bound_that_the_width_does_not_change(steps, width):
    # The regularisation of the covariances is in the units of the columns.
    units = 1.0 if steps else width
    mixture = GaussianMixture(2, reg_covar=1e-6 * units**2, random_state=0)
    model = pipe(*map(clone, steps), final=mixture, bin_width=width).fit(COUNTS * width)
    reference = pipe(*map(clone, steps), bin_width=1.0).fit(COUNTS)
    scores = model.score_samples(COUNTS * width)
    if not steps or isinstance(steps[0], StandardScaler):
        # The curvature of the power transformer knows the units.
        np.testing.assert_allclose(scores, reference.score_samples(COUNTS), atol=1e-6)
    levels = np.stack(np.meshgrid(*[np.arange(-8, 25)] * 3), axis=-1).reshape(-1, 3)
    if width == 1.0 and len(steps) < 2:
        # About 0.92 +- 0.005: a bound of probabilities that sum to one.
        assert 0.8 < np.exp(model.score_samples(levels)).sum() <= 1


def test_log_probability_of_a_normal_distribution():
    class First(Product):
        def score_samples(self, X):
            return stats.norm.logpdf(X[:, 0])

    # E_u log N(x + u - 1/2; 0, 1) = -(x^2 + 1/12 + log(2 pi))/2. Column 1 tells the rows apart.
    rows = np.column_stack([np.tile(np.arange(-3, 4), 1000), np.arange(7000)])
    expected = -0.5 * (rows[:, 0] ** 2 + 1 / 12 + np.log(2 * np.pi))
    scores = pipe(final=First(), bin_width=1.0).fit(rows).score_samples(rows)
    # A shifted lattice of 16 points errs by less than the integrand's range over a stratum, and
    # uniformly where the integrand is a line.
    most = 3.5 / 16
    np.testing.assert_allclose(scores, expected, atol=most)
    mean_error = (scores - expected).reshape(1000, 7).mean(axis=0)
    np.testing.assert_allclose(mean_error, 0, atol=5 * most / 12**0.5 / 1000**0.5)
    exact = np.log(stats.norm.cdf(rows[:7, 0] + 0.5) - stats.norm.cdf(rows[:7, 0] - 0.5))
    assert (expected[:7] < exact).all()


def test_draws_are_stratified_and_unbiased():
    class Recorder(Product):
        def score_samples(self, X):
            self.seen.append(np.asarray(X))
            return np.zeros(len(X))

    rows = np.column_stack([np.arange(600), np.arange(600) % 7, np.arange(600) % 3])
    model = pipe(final=Recorder(), bin_width=2.0).fit(rows * 2)
    model[-1].seen = []
    assert model.score(rows * 2) == pytest.approx(3 * np.log(2))
    u = (np.array(model[-1].seen) - 2 * rows) / 2 + 0.5
    assert u.min() >= 0 and u.max() <= 1
    # Every column of every row has one draw in each of 16 strata.
    assert (np.sort(np.floor(u * 16 % 16), axis=0) == np.arange(16)[:, None, None]).mean() > 0.999
    assert stats.kstest(u[0].ravel(), "uniform").pvalue > FIVE_SIGMA
    # Mean square over rows of the covariance between two columns: 1/144/16 = 0.0004 for independent
    # draws, 0.0014 where both columns run through their strata in the same order.
    square = ((u[..., 0] - 0.5) * (u[..., 1] - 0.5)).mean(axis=0) ** 2
    assert square.mean() + 5 * square.std() / len(rows) ** 0.5 < 0.001


def test_log_probability_does_not_depend_on_order_subset_or_container():
    model = pipe(StandardScaler(), bin_width="auto").fit(COUNTS)
    scores = model.score_samples(COUNTS)
    np.testing.assert_allclose(model.score_samples(COUNTS[::-1]), scores[::-1], atol=1e-12)
    np.testing.assert_allclose(model.score_samples(COUNTS[50:57]), scores[50:57], atol=1e-12)
    np.testing.assert_allclose(model.score_samples(COUNTS.astype(np.float32)), scores, atol=1e-12)


def test_equal_rows_are_fitted_with_different_noise():
    model = pipe(StandardScaler(), final=GaussianMixture(1), bin_width=1.0).fit(np.ones((500, 1)))
    # The variance of a uniform distribution, and five standard errors of 500 draws.
    assert model[0].scale_[0] ** 2 == pytest.approx(1 / 12, abs=5 * 0.075 / 500**0.5)


def test_samples_lie_on_the_grid():
    widths = [1.0, 0.5, 0.1]
    model = pipe(StandardScaler(), bin_width=widths).fit(COUNTS * widths)
    ratio = model.sample(100) / widths
    np.testing.assert_allclose(ratio, np.rint(ratio), atol=1e-9)
    assert np.array_equal(model.bin_width_, widths)


def test_automatic_bin_width():
    assert pipe(bin_width="auto").fit(X).bin_width_ is None
    assert np.array_equal(pipe(bin_width="auto").fit(COUNTS).bin_width_, np.ones(3))
    frame = pd.DataFrame(COUNTS, columns=list("abc"))
    assert np.array_equal(pipe(bin_width="auto").fit(frame).bin_width_, np.ones(3))
    with pytest.raises(ValueError, match="integers in columns 'a', 'b' and floats"):
        pipe(bin_width="auto").fit(frame.astype({"c": float}))


@pytest.mark.parametrize(
    ("width", "message"),
    [
        (0.0, "positive and finite"),
        (-1.0, "positive and finite"),
        (np.inf, "positive and finite"),
        ([1.0, None, 1.0], "None stands for all columns or for none"),
        (object(), "positive and finite"),
        ("one", "'auto', None, a number"),
        ([1.0, 1.0], r"shape \(2,\) but X has 3 columns"),
    ],
)
def test_bad_bin_width(width, message):
    with pytest.raises(ValueError, match=message):
        pipe(bin_width=width).fit(COUNTS)


def test_data_off_the_grid_are_named():
    frame = pd.DataFrame(COUNTS, columns=list("abc")).astype(float)
    model = pipe(StandardScaler(), bin_width=1.0).fit(frame)
    frame.loc[3, "b"] = 2.5
    message = "value 2.5 in column 'b', which is not a whole multiple of its bin_width 1.0"
    for call in (model.score_samples, clone(model).fit):
        with pytest.raises(ValueError, match=message):
            call(frame)
    with pytest.raises(ValueError, match="in column 1"):
        clone(model).fit(frame.to_numpy())


@pytest.mark.parametrize(
    ("steps", "outer"), [((StandardScaler(),), None), ((), 1.0), ((StandardScaler(),), 1.0)]
)
def test_inner_bin_width_is_refused_behind_other_steps(steps, outer):
    for inner in (1.0, [1.0, 1.0, 1.0]):
        final = Product(bin_width=inner)
        with pytest.raises(ValueError, match=r"final__bin_width=.* Give bin_width to the Gen"):
            pipe(*steps, final=final, bin_width=outer).fit(COUNTS)
    nested = GenerativePipeline([("in", Product(bin_width=1.0))])
    with pytest.raises(ValueError, match="final__in__bin_width=1.0"):
        pipe(*steps, final=nested, bin_width=outer).fit(COUNTS)
    for inner in (None, "auto"):
        pipe(*steps, final=Product(bin_width=inner), bin_width=outer).fit(COUNTS)


def test_inner_bin_width_is_accepted_where_nothing_comes_before():
    class Whole(Product):
        def fit(self, X, y=None):
            self.bin_width_ = np.ones(3)
            return super().fit(X)

    model = pipe("passthrough", final=Whole(bin_width=1.0)).fit(COUNTS)
    assert model.sample(3).dtype == np.int64


# Refusals


class Untouched(BaseEstimator):
    """Fails the test when it is fitted."""

    def fit(self, X, y=None):
        raise AssertionError("fitted before the steps were checked")

    transform = inverse_transform = score_samples = fit
    log_abs_det_jacobian = fit


class Shrunk(StandardScaler):
    def transform(self, X):
        return super().transform(X) / 2


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (Normalizer(), TypeError, "'step1' is a Normalizer, whose log-determinant is unknown"),
        (TruncatedSVD(), TypeError, "Supported are StandardScaler, .* 'passthrough'"),
        (Shrunk(), TypeError, "'step1' is a Shrunk"),
        (MinMaxScaler(clip=True), ValueError, "'step1' .MinMaxScaler. has no density: clip=True"),
        (PCA(n_components=1), ValueError, "drops some of the 2 components"),
        (PCA(n_components=0.9), ValueError, "drops some of the 2 components"),
        (PCA(n_components="mle"), ValueError, "drops some of the 2 components"),
        (FunctionTransformer(np.log1p), ValueError, "determinant of a function is unknown"),
        (make_pipeline(Normalizer()), TypeError, "'step1__normalizer' is a Normalizer"),
        (pipe(StandardScaler()), TypeError, "should be transformers|log-determinant is unknown"),
    ],
    ids=repr,
)
def test_steps_without_a_determinant_are_refused_before_any_work(step, error, message):
    with pytest.raises(error, match=message):
        pipe(Untouched(), step, final=Untouched()).fit(X)


def test_too_few_rows_for_a_full_pca():
    with pytest.raises(ValueError, match="4 rows give fewer than 6 components"):
        pipe(PCA()).fit(rng.normal(size=(4, 6)))


def test_map_to_fewer_columns_is_refused():
    class Half(Double):
        def transform(self, X):
            return np.asarray(X)[:, :1]

    with pytest.raises(ValueError, match="Half turns 2 columns into 1"):
        pipe(Half(), final=Untouched()).fit(X)


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_plateaus_of_the_quantile_transformer_are_refused_before_the_last_step(output):
    step = QuantileTransformer(n_quantiles=50, output_distribution=output)
    frame = pd.DataFrame({"fine": X[:200, 0], "flat": COUNTS[:, 0].astype(float)})
    with pytest.raises(ValueError, match="plateau in column 'flat': the value"):
        pipe(step, final=Untouched()).fit(frame)
    with pytest.raises(ValueError, match="plateau in column 0"):
        pipe(QuantileTransformer(n_quantiles=1), final=Untouched()).fit(X)
    model = pipe(step, final=Product()).fit(X)
    # Interpolation between two equal values may miss them by a rounding.
    model[0].quantiles_[5, 1] = np.nextafter(model[0].quantiles_[4, 1], np.inf)
    with pytest.raises(ValueError, match="plateau in column 1"):
        model.score(X)


@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_density_is_zero_outside_the_range_of_the_quantile_transformer(output):
    step = QuantileTransformer(n_quantiles=50, output_distribution=output)
    model = pipe(step, final=GaussianMixture(1)).fit(X)
    low, high = X.min(axis=0), X.max(axis=0)
    inside = np.median(X, axis=0)
    rows = np.array([inside, low, high, low - 1e-3, high + 1e-3, [low[0] - 1, inside[1]]])
    assert np.isfinite(model.score_samples(rows)).tolist() == [True] * 3 + [False] * 3
    assert model.score(rows) == -np.inf


def test_whitening_without_variance_is_refused():
    with pytest.raises(ValueError, match="whiten=True. divides by the variance"):
        pipe(PCA(whiten=True), final=Untouched()).fit(np.column_stack([X, X[:, 0]]))


@pytest.mark.parametrize("final", [StandardScaler(), "passthrough", None, IsolationForest()])
def test_last_step_must_be_a_density(final):
    model = GenerativePipeline([("one", Untouched()), ("two", final)])
    with pytest.raises(TypeError, match="last step 'two' must be a density estimator"):
        model.fit(X)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "infinity"),
        (np.zeros(3), "2D"),
        (np.zeros((0, 2)), "0 sample"),
        (np.array([["a", "b"]]), "convert|numeric"),
    ],
)
def test_bad_data(bad, message):
    with pytest.raises(ValueError, match=message):
        pipe(StandardScaler()).fit(bad)
    with pytest.raises(ValueError, match=message):
        pipe("passthrough").fit(X).score_samples(bad)


def test_wrong_number_of_columns():
    with pytest.raises(ValueError, match="X has 1 features, but GenerativePipeline is expecting 2"):
        pipe("passthrough").fit(X).score_samples(X[:, :1])


def test_not_fitted():
    for parameters in ({}, {"bin_width": 1.0}):
        model = pipe(StandardScaler(), **parameters)
        for call in (model.score_samples, model.score, model.bits_per_dim):
            with pytest.raises(NotFittedError):
                call(X)
        with pytest.raises(NotFittedError):
            model.sample()


def test_fitted_steps_need_no_fit_unless_binned():
    fitted = pipe(StandardScaler()).fit(X)
    again = GenerativePipeline(fitted.steps)
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    assert again.sample(2).shape == (2, 2)
    with pytest.raises(NotFittedError):
        GenerativePipeline(fitted.steps, bin_width=1.0).score_samples(X)


# scikit-learn's ways


def test_constant_columns():
    data = np.column_stack([X, np.full(300, 3.0)])
    model = pipe(StandardScaler(), final=Product()).fit(data)
    plain = pipe(StandardScaler(), final=Product()).fit(X)
    difference = model.score_samples(data) - plain.score_samples(X)
    np.testing.assert_allclose(difference, stats.norm.logpdf(0), atol=1e-9)


def test_grid_search_compares_scalers_in_the_units_of_the_data():
    search = GridSearchCV(
        pipe(StandardScaler(), final=GaussianMixture(1, random_state=0)),
        {"step0": [StandardScaler(), MinMaxScaler(), PowerTransformer()]},
        cv=3,
    ).fit(X)
    # Log-normal columns: only the power transformer makes them normal.
    assert isinstance(search.best_params_["step0"], PowerTransformer)
    standard, minmax, _ = search.cv_results_["mean_test_score"]
    assert standard == pytest.approx(minmax, abs=0.1)
    nested = GridSearchCV(pipe(StandardScaler()), {"final__n_components": [1, 2]}, cv=2).fit(X)
    assert np.isfinite(nested.best_score_) and nested.score(X) == nested.best_estimator_.score(X)


def test_clone_pickle_and_parameters():
    model = pipe(StandardScaler(), bin_width=[1.0, 1.0, 1.0]).fit(COUNTS, y=np.zeros(200))
    copied = clone(model)
    assert copied.bin_width == [1.0, 1.0, 1.0] and not hasattr(copied, "bin_width_")
    assert model.set_params(final__n_components=2).get_params()["final__n_components"] == 2
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.score_samples(COUNTS), model.score_samples(COUNTS))
    np.testing.assert_array_equal(
        restored.sample(3, random_state=0), model.sample(3, random_state=0)
    )


def test_indexing():
    model = pipe(StandardScaler(), PCA(), bin_width=1.0).fit(COUNTS)
    assert isinstance(model[0], StandardScaler) and isinstance(model["final"], GaussianMixture)
    assert type(model[:-1]) is Pipeline
    assert list(model[:-1].get_feature_names_out()) == ["pca0", "pca1", "pca2"]
    np.testing.assert_array_equal(model[:].score_samples(COUNTS), model.score_samples(COUNTS))
    Z = model[0].transform(COUNTS)
    tail = model[1:]
    assert type(tail) is GenerativePipeline and tail.bin_width is None
    np.testing.assert_allclose(
        tail.score_samples(Z), model[-1].score_samples(model[1].transform(Z)), atol=1e-9
    )
    with pytest.raises(ValueError, match="step of 1"):
        model[::2]


def test_memory_does_not_change_the_result(tmp_path):
    model = pipe(StandardScaler(), PowerTransformer(), memory=str(tmp_path)).fit(X)
    expected = pipe(StandardScaler(), PowerTransformer()).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), expected.score_samples(X))


def test_methods_that_the_last_step_lacks_are_absent():
    assert not hasattr(pipe(final=PCA()), "sample")
    assert hasattr(pipe(), "sample") and hasattr(pipe(), "predict")
    assert not hasattr(pipe(final=KernelDensity()), "predict")

    class OneWay(Double):
        inverse_transform = property()

    assert not hasattr(pipe(OneWay()), "sample")
    np.testing.assert_array_equal(
        pipe(StandardScaler()).fit_predict(X), pipe(StandardScaler()).fit(X).predict(X)
    )


def test_nested_generative_pipeline_as_last_step():
    inner = pipe(StandardScaler())
    model = pipe(PowerTransformer(), final=inner).fit(X)
    flat = pipe(PowerTransformer(), StandardScaler()).fit(X)
    np.testing.assert_allclose(model.score_samples(X), flat.score_samples(X), atol=1e-9)
    np.testing.assert_allclose(
        model.sample(4, random_state=2), flat.sample(4, random_state=2), rtol=1e-9
    )


def test_tags_and_representation():
    model = pipe(StandardScaler(), final=KernelDensity())
    assert model.__sklearn_tags__().estimator_type == "density_estimator"
    assert "GenerativePipeline" in repr(model) and "StandardScaler" in model._repr_html_()
    check_is_fitted(model.fit(X))
    with config_context(enable_metadata_routing=True):
        assert np.isfinite(model.fit(X).score(X))


def test_scores_change_neither_rows_nor_steps():
    model = pipe(StandardScaler(copy=False), PowerTransformer(copy=False)).fit(X.copy())
    data = X.copy()
    first = model.score_samples(data)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(model.score_samples(data), first)


def test_a_generator_alone_samples_its_own_grid():
    X = np.random.default_rng(0).integers(0, 5, (60, 2)) + 0.25
    model = GenerativePipeline([("gud", GUDGenerator(bin_width=1.0, max_iter=0))]).fit(X)
    assert np.isfinite(model.score_samples(model.sample(5, random_state=0))).all()
    frame = pd.DataFrame({"whole": np.arange(60) % 4, "real": np.linspace(0, 1, 60)})
    model = GenerativePipeline([("gud", GUDGenerator(max_iter=0))]).fit(frame)
    samples = model.sample(5, random_state=0)
    assert samples.notna().all(axis=None)
    assert samples.dtypes.tolist() == frame.dtypes.tolist()


def test_a_refused_refit_leaves_the_earlier_fit():
    X = np.random.default_rng(0).integers(0, 5, (60, 3)).astype(float)
    model = GenerativePipeline([("mixture", GaussianMixture(random_state=0))], bin_width=1.0).fit(X)
    before = model.score_samples(X)
    with pytest.raises(ValueError, match="not a whole multiple"):
        model.fit(X[:, :2] + 0.5)
    np.testing.assert_array_equal(model.score_samples(X), before)


@pytest.mark.parametrize("widths", [[1.0, 0.5], [0.5, 1.0]])
def test_samples_of_integers_on_a_finer_grid_are_not_cut(widths):
    X = np.random.default_rng(0).integers(0, 5, (60, 2))
    model = GenerativePipeline([("mixture", GaussianMixture(random_state=0))], bin_width=widths)
    drawn = model.fit(X).sample(200, random_state=0)
    fine = drawn[:, widths.index(0.5)]
    assert (2 * fine % 1 == 0).all() and (fine % 1 != 0).any()


# Frames of any types, and given values


def mixed(n=80):
    rng = np.random.default_rng(0)
    u = rng.normal(size=n)
    return pd.DataFrame(
        {
            "real": u,
            "kind": pd.Categorical(np.where(u > 0, "high", "low")),
            "count": pd.array(rng.integers(0, 5, n), dtype="Int64").astype("Int64"),
            "zeros": np.where(rng.random(n) < 0.5, 0.0, np.exp(u)),
        },
        index=range(3, 3 + n),
    )


def to_polars(frame):
    return pl.DataFrame({name: frame[name].tolist() for name in frame})


@pytest.mark.parametrize("to_frame", [pd.DataFrame, to_polars])
@pytest.mark.parametrize("steps", [(), ("passthrough",)], ids=repr)
def test_a_generator_alone_takes_mixed_frames(to_frame, steps):
    frame = to_frame(mixed())
    final = small(max_iter=1, retrieval="auto", conditional_rate=0.3)
    model, alone = pipe(*steps, final=final).fit(frame), clone(final).fit(frame)
    assert list(model.feature_names_in_) == list(mixed().columns)
    np.testing.assert_array_equal(model.score_samples(frame), alone.score_samples(frame))
    np.testing.assert_array_equal(
        model.score_samples_leave_one_out(frame), alone.score_samples_leave_one_out(frame)
    )
    for arguments in ({"n_samples": 2}, {"given": frame[:2]}):
        drawn = model.sample(random_state=1, **arguments)
        expected = alone.sample(random_state=1, **arguments)
        assert type(drawn) is type(expected)
        if isinstance(drawn, pd.DataFrame):
            pd.testing.assert_frame_equal(drawn, expected)


def test_a_mixed_frame_before_steps_of_numbers_is_refused():
    with pytest.raises(ValueError, match="'kind' holds no numbers, but step 'step0' takes numbers"):
        pipe(StandardScaler(), final=small()).fit(mixed())
    with pytest.raises(ValueError, match="'kind' holds no numbers, but bin_width=1.0 declares"):
        pipe(final=small(), bin_width=1.0).fit(mixed())


@pytest.mark.parametrize(
    "step",
    [
        ColumnTransformer([("one", OneHotEncoder(), ["kind"])], remainder="passthrough"),
        OneHotEncoder(),
        OrdinalEncoder(),
    ],
    ids=lambda step: type(step).__name__,
)
def test_encoders_are_not_needed(step):
    message = f"'step0' is a {type(step).__name__}, which has no density and is not needed"
    with pytest.raises(TypeError, match=f"{message}: GUDGenerator takes frames"):
        pipe(step, final=small()).fit(mixed())


def repeating(n=120):
    """Columns of a grid, of few values, and with a point mass."""
    rng = np.random.default_rng(0)
    zeros = np.where(rng.random(n) < 0.4, 0.0, rng.exponential(size=n))
    return np.c_[rng.integers(0, 40, n) / 4, rng.choice([0.5, 1.5, 4.0], n), zeros]


@pytest.mark.parametrize("step", [StandardScaler(), RobustScaler(), PowerTransformer()], ids=repr)
def test_a_generator_behind_steps_finds_no_grids(step):
    data = repeating()
    assert small(max_iter=0).fit(data).bin_width_ is not None
    model = pipe(step, final=small(max_iter=1)).fit(data)
    assert model[-1].bin_width_ is None and model[-1].schema_.is_plain
    assert model[-1].bin_width == "auto" and model[-1].schema == "auto"
    Z = model[0].transform(data)
    inner = clone(model[-1]).set_params(bin_width=None).fit(Z)
    expected = inner.score_samples(Z) + numerical_log_det(model[0].transform, data)
    np.testing.assert_allclose(model.score_samples(data), expected, atol=2e-5)


def test_a_schema_of_the_user_is_kept_behind_steps():
    schema = Schema(feature_types={1: "category"})
    model = pipe(StandardScaler(), final=small(max_iter=0, schema=schema))
    assert model.fit(repeating())[-1].schema_.columns[1].is_category
    nested = pipe(StandardScaler(), final=pipe("passthrough", final=small(max_iter=0)))
    assert nested.fit(repeating())[-1][-1].bin_width_ is None
    assert nested[-1][-1].bin_width == "auto"


def test_a_failed_fit_restores_the_generator():
    model = pipe(StandardScaler(), final=small(max_iter=-1))
    with pytest.raises(ValueError, match="max_iter"):
        model.fit(X)
    assert model[-1].bin_width == "auto"


BY_COLUMN = [
    StandardScaler(), MinMaxScaler(), PowerTransformer(), PowerTransformer(method="box-cox"),
    QuantileTransformer(n_quantiles=20), MarginalGaussianizer(), IdentityBasis(),
]  # fmt: skip


@pytest.mark.parametrize("step", BY_COLUMN, ids=repr)
def test_given_values_are_kept_and_the_others_are_those_of_the_last_step(step):
    model = pipe(clone(step), final=small(max_iter=1, conditional_rate=0.3)).fit(X)
    given = X[:3].copy()
    given[:2, 1], given[2] = np.nan, np.nan
    drawn = model.sample(given=given, random_state=4)
    assert drawn.shape == given.shape and np.isfinite(drawn).all()
    observed = ~np.isnan(given)
    np.testing.assert_array_equal(drawn[observed], given[observed])
    Z = np.where(observed, model[0].transform(X[:3]), np.nan)
    expected = model[0].inverse_transform(model[-1].sample(given=Z, random_state=4))
    inside = np.isfinite(expected) & ((expected > X.min(0)) & (expected < X.max(0)))
    np.testing.assert_allclose(drawn[inside], expected[inside], rtol=1e-6)
    assert model.sample(4, given=given, random_state=4).shape == (4, 3, 2)


def test_given_frames_may_lack_columns():
    frame = pd.DataFrame(X, columns=["a", "b"], index=range(5, 305))
    model = pipe(StandardScaler(), final=small(max_iter=1, conditional_rate=0.3)).fit(frame)
    drawn = model.sample(given=frame[["b"]][:3], random_state=0)
    assert list(drawn.columns) == ["a", "b"] and drawn.index.tolist() == [5, 6, 7]
    pd.testing.assert_series_equal(drawn["b"], frame["b"][:3])
    several = model.sample(2, given=frame[["b"]][:3], random_state=0)
    assert several.index.names == ["draw", "row"] and several.index.levels[1].tolist() == [5, 6, 7]
    assert (several.loc[1, "b"] == frame["b"][:3]).all()
    with pytest.raises(ValueError, match="given has the column 'c', which X did not have"):
        model.sample(given=pd.DataFrame({"c": [1.0]}))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (pipe(PCA(), final=small(max_iter=0)), ValueError, "'step0' is a PCA. Leave it out"),
        (pipe(Double(), final=small(max_iter=0)), ValueError, "'step0' is a Double"),
        (pipe(StandardScaler()), TypeError, "'final' is a GaussianMixture. Use a GUDGenerator"),
    ],
    ids=["pca", "unknown", "final"],
)
def test_given_is_refused_where_it_has_no_meaning(model, error, message):
    with pytest.raises(error, match=message):
        clone(model).fit(X).sample(given=[[1.0, np.nan]])


def test_given_is_refused_with_bins():
    model = pipe(StandardScaler(), final=small(max_iter=0), bin_width=1.0).fit(COUNTS)
    with pytest.raises(ValueError, match="given= cannot be had with bin_width=1.0"):
        model.sample(given=[[1.0, np.nan, np.nan]])
