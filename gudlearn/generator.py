"""The estimator: fit, sample, score."""

import copy
import math
import weakref
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import check_is_fitted, validate_data

from gudlearn._columns import Container, make_bins
from gudlearn._constraints import HasMethods, Interval, StrOptions
from gudlearn._encoding import Encoding
from gudlearn._model import Model
from gudlearn._random import derive_seed, mix, row_keys, seed_keys, torch_generator
from gudlearn._resolve import NamedSpecs, resolve
from gudlearn._training import Budget, Trainer, Validation, run_passes, to_arrays, to_tensors
from gudlearn.networks import build_network
from gudlearn.nn.denoiser import Denoiser

# Draws of time and noise per row in a score: 8 per component, within these limits.
_SCORE_TIMES = (128, 512)
_SCORE_CHUNK = 128
_SAMPLE_CHUNK = 256
_DEQUANTISED_DRAWS = 8
_FLOW_STEPS = 40
_FLOW_DRAWS = 4
# Up to this many components the trace of the flow's Jacobian is summed exactly.
_EXACT_TRACE = 16

# Models on their devices, by estimator: nothing of them is pickled, cloned or compared.
_MODELS = weakref.WeakKeyDictionary()
_TRAINERS = weakref.WeakKeyDictionary()


class GUDGenerator(NamedSpecs, CallbackSupportMixin, DensityMixin, BaseEstimator):
    """Diffusion model of the rows of a table: fit, sample, score.

    Parameters
    ----------
    basis : {"auto", "identity", "pca", "fourier", "wavelet", "block"} or Basis, default="auto"
        In which components noise acts. "auto" is ``IdentityBasis(whiten=True)``: standardised
        columns.
    schedule : {"auto", "linear", "cosine", "vp", "soft", "sequential"} or Schedule, default="auto"
        On which path each component travels from data to noise. "auto" is ``LinearSchedule()``;
        given a nested ``schedule__softness`` it becomes ``SoftConditioningSchedule``.
    network : {"auto", "mlp"}, MLP or callable, default="auto"
        The network that corrects the marginals, see :mod:`gudlearn.networks`. "auto" is ``MLP()``.
    sampler : {"auto", "dpm-solver", "ddim", "ancestral", "heun", "euler-maruyama"} or Sampler, \
            default="auto"
        How samples are drawn. "auto" is ``DPMSolver`` with 50 steps, more where components move
        in short windows one after another.
    bin_width : "auto", None, float or array-like of shape (n_features,), default="auto"
        Distance of neighbouring values of discrete columns, in the units of X. Where it is given
        (NaN or None for the other columns) scores are log-probabilities. "auto": integer dtypes
        have width 1, floating ones are continuous.
    bin_range : None, (low, high) or array-like of shape (n_features, 2), default=None
        Least and greatest value of discrete columns. None: values outside the seen range have a
        small probability, 1/(n + 2) per column in all.
    likelihood : {"bound", "flow"}, default="bound"
        What scores are: the variational bound, or the density of the probability flow.
    preconditioning : {"marginal", "gaussian"}, default="marginal"
        What the untrained model is: the product of fitted marginals (mixtures, or the frequencies
        of discrete columns), or of one Gaussian per component.
    loss_weighting : {"likelihood", "uniform"}, default="likelihood"
        Weight of the noise levels in training: the bound's own, or equal for the noise.
    max_iter : int or "auto", default="auto"
        Passes over the rows; 0 leaves the model untrained. "auto" grows with the number of rows
        up to 200 plus that number, and stays below 6 million rows seen; with ``max_time`` given
        it sets no limit.
    max_time : float or None, default=None
        Seconds of training, preparation included. Whichever of the two ends first binds; the
        learning rate decays to zero by then.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is a quarter of the rows, 1024 at most.
    learning_rate_init : float, default=4e-3
        Largest learning rate of AdamW. Muon's is 2.5 times that.
    optimizer : {"muon", "adamw"}, default="muon"
        Muon turns the update of each hidden matrix into an orthogonal one and leaves all else to
        AdamW.
    early_stopping : bool, default=False
        Whether to stop when the validation score has not risen by ``tol`` for
        ``n_iter_no_change`` evaluations. By default the whole budget is used. The best weights
        are kept in any case.
    validation_fraction : float in [0, 1), default=0.1
        Share of the rows that the network never trains on and that choose its weights. They are
        not trained on afterwards. Basis and marginals are fitted to all rows.
    n_iter_no_change : int, default=10
        Evaluations without progress before stopping early.
    tol : float, default=1e-4
        Least progress, in nats per dimension.
    warm_start : bool, default=False
        Whether fit goes on from the weights, basis and marginals of the last fit.
    device : str, default="auto"
        Where to compute. "auto" is a CUDA device if there is one, else the CPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Arithmetic of the hidden layers in training. "auto" is bfloat16 where the device computes
        it fast. Scores and samples are computed in float64 always.
    compile : bool, default=False
        Whether training runs through ``torch.compile``.
    verbose : int, default=0
        Above 0, print the validation score at each evaluation.
    random_state : int, RandomState instance or None, default=None
        Rules fit and the noise inside scores, and samples unless ``sample`` is given its own; with
        an int every call of ``sample`` gives the same rows.

    Attributes
    ----------
    basis_, schedule_, sampler_ : objects
        The specifications in use; the basis is fitted.
    bin_width_ : None or ndarray of shape (n_features,)
        Bin widths in use, NaN for continuous columns; None if all are continuous.
    weights_ : dict of str to ndarray
        Weights of the network.
    time_weights_ : ndarray
        Relative density at which noise levels are drawn.
    n_iter_ : int
        Passes made.
    loss_curve_ : list of float
        Mean training loss of each pass, in nats per component, without the terms that no network
        enters.
    validation_scores_ : list of float
        Mean log-likelihood of the validation rows at each evaluation, in nats per dimension; the
        first is the untrained model's.
    validation_iters_ : list of int
        Passes made at each evaluation.
    best_validation_score_ : float or None
        The score of the weights that were kept.
    n_parameters_ : int
        Weights in the network.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Components z of a row diffuse as :math:`x_i = \\alpha_i z_i + \\sigma_i \\epsilon_i`. The score
    is minus the bound of Kingma et al. (2021), https://arxiv.org/abs/2107.00630, for a vector of
    noise levels; its noise is keyed by the values of each row, so that scores are deterministic
    and depend on no other row.

    A constant column contributes 0 nats and comes back exactly.

    References
    ----------
    Gerdes, Welling, Cheng (2024), "GUD: Generation with Unified Diffusion",
    https://arxiv.org/abs/2410.02667

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gudlearn import GUDGenerator
    >>> X = load_iris().data
    >>> gen = GUDGenerator(max_iter=20, random_state=0).fit(X)
    >>> gen.sample(3).shape
    (3, 4)
    >>> gen.score_samples(X).shape
    (150,)
    """

    _doc_link_module = "gudlearn"

    _parameter_constraints = {
        "basis": [str, HasMethods("fit")],
        "schedule": [str, HasMethods("build")],
        "network": [str, HasMethods("build"), callable],
        "sampler": [str, HasMethods("build")],
        "bin_width": [StrOptions({"auto"}), None, Real, "array-like"],
        "bin_range": [None, "array-like"],
        "likelihood": [StrOptions({"bound", "flow"})],
        "preconditioning": [StrOptions({"marginal", "gaussian"})],
        "loss_weighting": [StrOptions({"likelihood", "uniform"})],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "optimizer": [StrOptions({"muon", "adamw"})],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "compile": ["boolean"],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        basis="auto",
        schedule="auto",
        network="auto",
        sampler="auto",
        *,
        bin_width="auto",
        bin_range=None,
        likelihood="bound",
        preconditioning="marginal",
        loss_weighting="likelihood",
        max_iter="auto",
        max_time=None,
        batch_size="auto",
        learning_rate_init=4e-3,
        optimizer="muon",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        precision="auto",
        compile=False,
        verbose=0,
        random_state=None,
    ):
        self.basis = basis
        self.schedule = schedule
        self.network = network
        self.sampler = sampler
        self.bin_width = bin_width
        self.bin_range = bin_range
        self.likelihood = likelihood
        self.preconditioning = preconditioning
        self.loss_weighting = loss_weighting
        self.max_iter = max_iter
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.optimizer = optimizer
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.compile = compile
        self.verbose = verbose
        self.random_state = random_state

    # Fit

    @with_callbacks
    def fit(self, X, y=None):
        """Fit basis and marginals, and train the network.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Finite numbers.
        y : None
            Ignored.

        Returns
        -------
        self : GUDGenerator

        Raises
        ------
        ValueError
            For bad parameters or data; what was fitted before is then unchanged.
        FloatingPointError
            If the loss stops being finite; the last good weights are kept.
        """
        budget = Budget(None, self.max_time)
        again = self.warm_start and hasattr(self, "weights_")
        with self._unchanged_on_error():
            X = self._prepare(X, again)
            seed = derive_seed(self.random_state)
            trainer = self._make_trainer(len(X), seed)
        budget.max_iter = self._n_passes(len(X))
        context = self._init_callback_context(max_subtasks=budget.max_iter)
        self._train(X, trainer, budget, seed, context)
        return self

    def partial_fit(self, X, y=None):
        """Make one pass over rows, at the full learning rate.

        The first call fits basis and marginals to its rows, and later calls keep them: many calls
        are not the same as one fit to all rows. No rows are set aside for validation.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        self : GUDGenerator
        """
        again = hasattr(self, "weights_")
        with self._unchanged_on_error():
            X = self._prepare(X, again)
            trainer = _TRAINERS.get(self) if again else None
            if trainer is None:
                trainer = self._make_trainer(len(X), derive_seed(self.random_state))
        _TRAINERS[self] = trainer
        data = self._rows_on_device(X, trainer.device)
        self._note(trainer, run_passes(trainer, lambda _: data(trainer.steps), Budget(None, None)))
        self.n_iter_ += 1
        return self

    @contextmanager
    def _unchanged_on_error(self):
        before = dict(vars(self))
        try:
            yield
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _prepare(self, X, again):
        """Validate everything; learn the encoding unless it is kept. Returns X as float64."""
        self._validate_params()
        schedule = resolve("schedule", self.schedule)
        sampler = resolve("sampler", self.sampler)
        sampler.build()
        network, basis = resolve("network", self.network), resolve("basis", self.basis)
        device = self._device()
        container = Container.of(X)
        X = validate_data(self, X, dtype=np.float64, reset=not again)
        if again:
            self._encoding.bins.levels(X)
            return X
        names = getattr(self, "feature_names_in_", None)
        names = [f"x{j}" for j in range(X.shape[1])] if names is None else list(names)
        self._container = container
        bins = make_bins(self.bin_width, self.bin_range, container, X, names)
        self._encoding = Encoding(bins, basis, self.preconditioning).fit(X)
        self.basis_, self.schedule_, self.sampler_ = self._encoding.basis, schedule, sampler
        self.network_ = network
        self.bin_width_ = bins.width if bins.discrete.any() else None
        self._build_path()
        self._build_denoiser(derive_seed(self.random_state), device, record=True)
        self.time_weights_ = np.ones(32)
        self.loss_curve_, self.validation_scores_, self.validation_iters_ = [], [], []
        self.best_validation_score_ = None
        self.n_iter_ = 0
        return X

    def _build_path(self):
        if not self._encoding.ends.active.any():
            return None
        return self.schedule_.build(self._encoding.components, self._encoding.end_points())

    def _build_denoiser(self, seed, device, record=False):
        """A denoiser with the weights of the fit, or with new ones that are then recorded."""
        marginals = self._encoding.marginals() if self._encoding.ends.active.any() else None
        if marginals is None:
            if record:
                self.weights_, self.n_parameters_ = {}, 0
            return None
        # Layers draw their first weights from torch's global state, which is put back.
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            network = build_network(
                self.network_, len(marginals.mean), Denoiser.n_channels(marginals)
            )
        if record:
            self.weights_ = to_arrays(network.state_dict())
            self.n_parameters_ = sum(p.numel() for p in network.parameters())
        else:
            network.load_state_dict(to_tensors(self.weights_))
        return Denoiser(network, marginals)

    def _make_trainer(self, n_rows, seed):
        device = self._device()
        denoiser = self._build_denoiser(seed, device)
        if denoiser is None:
            return None
        n_train = n_rows - self._n_validation(n_rows)
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = int(np.clip(n_train // 4, min(n_train, 64), 1024))
        return Trainer(
            denoiser.to(device, torch.float32),
            self._build_path().to(device, torch.float32),
            loss=self.loss_weighting,
            batch_size=batch_size,
            learning_rate=self.learning_rate_init,
            optimizer=self.optimizer,
            autocast=self._autocast(device),
            generator=torch_generator(seed, device),
            compiled=self.compile,
        )

    def _device(self):
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            return torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(
                f"device={self.device!r} is not a device of torch. Pass 'auto', 'cpu' or 'cuda'."
            ) from error

    def _autocast(self, device):
        if self.precision == "float32":
            return None
        if self.precision == "bfloat16" or _computes_bfloat16(device):
            return torch.bfloat16
        return None

    def _n_validation(self, n_rows):
        return int(n_rows * self.validation_fraction)

    def _n_passes(self, n_rows):
        if self.max_iter != "auto":
            return int(self.max_iter)
        if self.max_time is not None:
            return None
        return int(min(200 + n_rows, math.ceil(6e6 / n_rows)))

    def _rows_on_device(self, X, device):
        """A function of a draw that gives the active components of X on the device."""
        encoding = self._encoding
        active, levels, keys = encoding.ends.active, encoding.bins.levels(X), row_keys(X)

        def data(draw):
            z = encoding.encode(X, levels, keys, draw)[:, active]
            return torch.from_numpy(z).to(device, torch.float32)

        if encoding.dequantised.any():
            return data
        fixed = data(0)
        return lambda draw: fixed

    def _train(self, X, trainer, budget, seed, context):
        """Run the passes, with validation and callbacks, and record what comes of them."""
        if trainer is None or budget.spent(0) >= 1 and budget.max_time is None:
            return
        order = np.random.default_rng(seed).permutation(len(X))
        held_out = order[: self._n_validation(len(X))]
        train = np.delete(np.arange(len(X)), held_out)
        data = self._rows_on_device(X[train], trainer.device)
        validation = self._make_validation(X[held_out], trainer, seed)

        def after_pass(n_passes, weights, log):
            sub = context.subcontext(task_name="pass")
            sub.call_on_fit_task_begin(estimator=self, X=X)
            return sub.call_on_fit_task_end(
                estimator=self,
                X=X,
                reconstruction_attributes=lambda: {
                    "weights_": to_arrays(weights()),
                    "time_weights_": trainer.times.weights.cpu().numpy().astype(float),
                    "n_iter_": n_passes,
                    "validation_scores_": list(log.validation_scores),
                    "loss_curve_": list(log.losses),
                },
            )

        log = run_passes(
            trainer,
            data,
            budget,
            validation=validation,
            patience=self.n_iter_no_change if self.early_stopping else None,
            tol=self.tol,
            verbose=self.verbose,
            after_pass=after_pass,
            names=self._encoding.components.names,
            keep=lambda log: self._note(trainer, log),
        )
        self.n_iter_ = len(log.losses)

    def _note(self, trainer, log):
        """Record the outcome of training in learned attributes."""
        self.weights_ = to_arrays(log.best_state)
        self.time_weights_ = trainer.times.weights.cpu().numpy().astype(float)
        self.loss_curve_ = self.loss_curve_ + log.losses
        self.validation_scores_ = self.validation_scores_ + log.validation_scores
        self.validation_iters_ = self.validation_iters_ + log.validation_passes
        self.best_validation_score_ = log.best_score

    def _make_validation(self, X, trainer, seed):
        if not len(X):
            return None
        model = self._model()
        z, levels, keys = self._encoded(X, model)
        constant = self._in_user_units(-model.marginal_bound(z), levels, model).sum(1).mean()
        return Validation(
            z[:, model.active].to(torch.float32),
            n_times=int(np.clip(16384 // len(X), 8, 128)),
            constant=-constant / X.shape[1],
            n_dimensions=X.shape[1],
            seed=seed,
        )

    # Score

    def score_samples(self, X):
        """Log-likelihood of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Log-density; log-probability of discrete columns. With ``likelihood="bound"`` at most
            the model's, in expectation over its internal noise.
        """
        if self.likelihood == "flow":
            return self._each_chunk(X, self._flow)
        return self._each_chunk(X, self._bound).sum(1)

    def score_components(self, X):
        """Log-likelihood of each row split by component, in nats and in the units of X.

        The total does not depend on the schedule, the split does: with a sequential schedule it
        is the chain rule, each group given those generated before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components) or (n_samples, n_components + n_features)
            Sums to ``score_samples``. Where components are not data columns and the data are
            discrete, the reconstruction of each column follows the components.

        Raises
        ------
        ValueError
            If ``likelihood="flow"``, whose density is not a sum over components.
        """
        if self.likelihood == "flow":
            raise ValueError(
                "likelihood='flow' has no split by component: the flow's density is one number a "
                "row. Use likelihood='bound'."
            )
        return self._each_chunk(X, self._bound)

    def score(self, X, y=None):
        """Mean log-likelihood of the rows, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    def bits_per_dim(self, X):
        """Mean negative log-likelihood in bits per column, constant columns included.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        float
        """
        return -self.score(X) / (self.n_features_in_ * math.log(2))

    def _each_chunk(self, X, function):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        model = self._model()
        chunks = [X[i : i + _SCORE_CHUNK] for i in range(0, len(X), _SCORE_CHUNK)]
        with torch.no_grad():
            return np.concatenate([function(chunk, model) for chunk in chunks])

    def _encoded(self, X, model, draw=0):
        levels = self._encoding.bins.levels(X)
        keys = row_keys(X)
        z = torch.from_numpy(self._encoding.encode(X, levels, keys, draw))
        keys = mix(keys, self.random_state if isinstance(self.random_state, Integral) else 0)
        return (
            z.to(model.device, model.dtype),
            torch.from_numpy(levels).to(model.device, model.dtype),
            keys.to(model.device),
        )

    def _in_user_units(self, components, levels, model):
        per_level = np.zeros(levels.shape)
        if model.observation is not None:
            per_level[:, self._encoding.binned] = -model.level_cost(levels).cpu().numpy()
        return self._encoding.in_user_units(components.double().cpu().numpy(), per_level)

    def _bound(self, X, model):
        draws = _DEQUANTISED_DRAWS if self._encoding.dequantised.any() else 1
        n_times = int(np.clip(8 * len(model.active), *_SCORE_TIMES))
        total = 0.0
        for draw in range(draws):
            z, levels, keys = self._encoded(X, model, draw)
            cost = model.marginal_bound(z) / draws
            strata = torch.arange(draw, n_times, draws, device=model.device)
            cost[:, model.active] += model.correction(z, keys, strata, n_times)
            total = total - cost
        return self._in_user_units(total, levels, model)

    def _flow(self, X, model):
        encoding = self._encoding
        draws = _DEQUANTISED_DRAWS if encoding.dequantised.any() else 1
        n_probes = 0 if len(model.active) <= _EXACT_TRACE else 1
        total = 0.0
        for draw in range(draws):
            z, levels, keys = self._encoded(X, model, draw)
            total = total + model.flow(
                z, levels, mix(keys, draw), _FLOW_STEPS, n_probes, _FLOW_DRAWS
            )
        units = encoding.in_user_units(
            np.zeros((1, model.n_components)), np.zeros((1, X.shape[1]))
        )
        return total.double().cpu().numpy() / draws + units.sum()

    def log_snr(self, t):
        """Effective log-SNR of each component that diffuses, over time.

        Parameters
        ----------
        t : array-like of shape (n_times,)
            Times in [0, 1]; 0 is data, 1 is noise.

        Returns
        -------
        ndarray of shape (n_times, n_components)
        """
        check_is_fitted(self)
        active = self._encoding.ends.active
        t = torch.as_tensor(np.asarray(t, dtype=np.float64))
        path = self._build_path()
        if path is None:
            return np.zeros((len(t), 0))
        return np.log(self._encoding.ends.variances[active]) - path(t).numpy()

    # Sample

    def sample(self, n_samples=1, *, random_state=None):
        """Draw rows.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's. For one seed the first k of n rows are the k rows.

        Returns
        -------
        array or DataFrame of shape (n_samples, n_features)
            The container, columns and dtypes of the X that was fitted.

        Raises
        ------
        ValueError
            If n_samples is not a positive whole number.
        """
        check_is_fitted(self)
        if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"n_samples={n_samples!r} must be a whole number of at least 1. Pass how many rows "
                "to draw."
            )
        state = self.random_state if random_state is None else random_state
        seed = derive_seed(state)
        model, sampler = self._model(), self._sampler()
        chunks = []
        with torch.no_grad():
            for start in range(0, n_samples, _SAMPLE_CHUNK):
                # Chunks are of one size, so that a row's bits do not depend on n_samples.
                keys = seed_keys(seed, _SAMPLE_CHUNK, start, device=model.device)
                z = model.sample(keys, sampler).double().cpu().numpy()
                chunks.append(self._encoding.decode(z, keys, model))
        X = np.concatenate(chunks)[:n_samples]
        bins = self._encoding.bins
        whole = bins.discrete & (bins.width % 1 == 0) & (bins.origin % 1 == 0)
        return self._container.wrap(X, whole | self._encoding.constant)

    def _sampler(self):
        if self.sampler != "auto":
            return self.sampler_
        log_snr = self.log_snr(np.linspace(0, 1, 257))
        moving = (np.diff(log_snr, axis=0) < -1e-9).mean(0) if log_snr.size else np.ones(1)
        sampler = copy.copy(self.sampler_)
        return sampler.set_params(steps=int(np.clip(50 / np.median(moving), 50, 1000)))

    def _model(self):
        """The model on its device, rebuilt when the weights are not those it was built from."""
        device = self._device()
        model, weights = _MODELS.get(self, (None, None))
        if model is None or weights is not self.weights_ or model.device != device:
            encoding = self._encoding
            model = Model(
                self._build_denoiser(0, device),
                self._build_path(),
                encoding.ends,
                encoding.level_prior(),
                torch.from_numpy(np.flatnonzero(encoding.binned)),
                self.time_weights_,
                device,
                torch.float64,
            )
            _MODELS[self] = model, self.weights_
        return model


def _computes_bfloat16(device):
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
