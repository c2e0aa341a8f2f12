"""The estimator: fit, sample, score."""

import weakref
from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks

from gudlearn import _fitting
from gudlearn._atomic import unchanged_on_error
from gudlearn._built import Built
from gudlearn._constraints import HasMethods, Interval, StrOptions
from gudlearn._draws import Draws
from gudlearn._extension import Extends
from gudlearn._learner import Learner
from gudlearn._random import derive_seed
from gudlearn._scores import Scores
from gudlearn._specs import NamedSpecs
from gudlearn.bases import BlockBasis, IdentityBasis
from gudlearn.training.loop import Budget, run_epochs

# Trainers by estimator: nothing of them is pickled, cloned or compared.
_TRAINERS = weakref.WeakKeyDictionary()


class GUDGenerator(
    NamedSpecs, Built, Learner, Scores, Draws, Extends, CallbackSupportMixin, DensityMixin,
    BaseEstimator,
):  # fmt: skip
    """Diffusion model of the rows of a table or of images: fit, sample, score.

    Parameters
    ----------
    basis : {"auto", "identity", "pca", "fourier", "wavelet", "block"} or Basis, default="auto"
        In which components noise acts. "auto" is ``IdentityBasis(whiten=True)``, standardised
        columns or pixels. Bases of pictures take ``shape`` and ``channels`` from images.
    schedule : {"auto", "linear", "cosine", "vp", "soft", "sequential"} or Schedule, default="auto"
        On which path each component travels from data to noise. "auto" is ``LinearSchedule()``;
        given a nested ``schedule__softness`` it becomes ``SoftConditioningSchedule``.
    network : {"auto", "mlp", "unet", "transformer"}, MLP, UNet, Transformer or callable, \
            default="auto"
        The network that corrects the marginals, see :mod:`gudlearn.networks`. "auto" is
        ``MLP()`` for tables and ``UNet()`` for images; given a nested ``network__width`` it becomes
        ``MLP``: for images set ``network="unet"``, too.
    sampler : {"auto", "dpm-solver", "ddim", "ancestral", "heun", "euler-maruyama"} or Sampler, \
            default="auto"
        How samples are drawn; may be set after fit. "auto" is ``DPMSolver`` with 50 steps, more
        where components move in short windows one after another.
    bin_width : "auto", None, float or array-like of shape (n_features,), default="auto"
        Distance of neighbouring values of discrete columns, in the units of X. Where it is given
        (NaN or None for the other columns) scores are log-probabilities. "auto": integer dtypes
        have width 1, floating ones are continuous.
    shape : None, (height, width) or (height, width, channels), default=None
        Makes images of flat rows, channels last. Arrays of three or four dimensions are images
        without it.
    bin_range : None, (low, high) or array-like of shape (n_features, 2), default=None
        Least and greatest value of discrete columns. None: values outside the seen range have a
        small probability, 1/(n + 2) per column in all; for images of dtype uint8, in bins of
        width 1, it is (0, 255).
    likelihood : {"bound", "flow"}, default="bound"
        What scores are: the variational bound, or the density of the probability flow. May be
        set after fit.
    preconditioning : {"auto", "mixture", "joint", "marginal", "gaussian"}, default="auto"
        What the untrained model is. "marginal": the product of fitted marginals (mixtures, or the
        frequencies of discrete columns). "joint": these, with the correlations of all components,
        and of classes where there are any; for up to 256 components. "mixture": the number of
        clusters of rows, up to eight, that scores best on held-out rows, each a "joint" of its own
        without classes: as good as exact for a mixture of so many Gaussians, and better than
        "joint" until training has overtaken it, which it makes slower. "gaussian": one Gaussian for
        each component. "auto" is "joint" for tables and continuous images where it can be, else
        "marginal".
    retrieval : int or "auto", default=0
        Rows of a table, at most, that are kept for the network to look up: kernel densities around
        them are among its inputs. In training no row sees itself. Where rows have near neighbours,
        as in many small tables, conditionals gain much, densities hardly. Of equal rows one is
        kept, where most rows are unique. Time grows with the rows kept. Scores of these rows
        themselves are too good, as those of any kernel density, and rows that overlap, as windows
        of a series do, teach the network to copy. "auto" is 2048 for a table of so many rows or
        fewer, and 0 for others.
    loss_weighting : {"likelihood", "uniform"}, default="likelihood"
        How noise levels count in training: as in the bound, or equally in the error of the
        predicted noise (for the look of samples).
    class_conditional : bool, default=False
        Whether fit takes labels y, and samples and scores may be given them.
    random_flips : bool, default=False
        Whether half of the images are mirrored, left to right, at random while training; for
        networks of images.
    conditional_rate : float in [0, 1] or "auto", default="auto"
        Share of the rows that are seen in mixed states in training: a part given or missing, or
        one part after another. With it one fit answers for every conditional and marginal; 0.3
        serves them all and costs little. "auto" is 0.3 where X holds NaN, else 0, and no less than
        in an earlier fit that is gone on from. Parts are columns or pixels; with a basis that mixes
        them, components, which serves schedules put in place after the fit.
    conditioning : {"auto", "exact", "posterior", "repaint"}, default="auto"
        How samples agree with what is known; may be set after fit. "exact" holds known components
        at their floor, for a network that saw such states. "posterior" guides the denoiser by the
        moments of the data given the state, "repaint" puts what is known in the place of what was
        guessed and repeats each step ten times. "auto" is "exact" where known columns make whole
        components and ``conditional_rate_`` is above 0, else "posterior"; see
        :meth:`conditioning_method`.
    max_iter : int or "auto", default="auto"
        Passes over the rows; 0 leaves the model untrained. "auto" is 100 plus the number of rows,
        at most 500 passes and 6 million rows seen; with ``max_time`` given it sets no limit.
    max_time : float or None, default=None
        Seconds of training, preparation included. The first of the two limits that is reached
        ends training; the learning rate decays to zero by then.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is a quarter of the rows that are trained on, between 64 (or all of
        them) and 1024; 32 for a network of images.
    accumulation_steps : int, default=1
        A batch goes through the network in so many parts, one after another, whose gradients are
        summed: less memory, the same step.
    learning_rate_init : float or "auto", default="auto"
        Largest learning rate of AdamW. Muon's is 2.5 times that. "auto" is 4e-3, and 6e-3 for a
        network of images.
    optimizer : {"muon", "adamw"}, default="muon"
        Muon turns the update of each hidden matrix into an orthogonal one and leaves all else to
        AdamW.
    weight_decay : float or "auto", default="auto"
        Share of the weights, times the learning rate, that is taken away at each step. "auto" is
        150 divided by the number of rows, between 0.01 and 0.1.
    early_stopping : bool, default=False
        Whether to stop when the validation score has not risen by ``tol`` for
        ``n_iter_no_change`` evaluations. By default the whole budget is used. The best weights
        are kept in any case; with NaN in X the best since holes were filled last, or the initial
        ones.
    validation_fraction : float in [0, 1), default=0.1
        Share of the rows, 8192 (512 images) at most, that the network never trains on and that
        choose its weights. They are not trained on afterwards. Basis and marginals are fitted to
        all rows.
    n_iter_no_change : int, default=10
        Evaluations without progress before stopping early; a budget has about 30 of them.
    tol : float, default=1e-4
        Least progress, in nats per dimension.
    warm_start : bool, default=False
        Whether fit goes on from the weights, basis and marginals of the last fit. The schedule
        and all that rules training may change in between.
    device : str, default="auto"
        Where to compute. "auto" is a CUDA device if there is one, else the CPU.
    precision : {"auto", "float32", "bfloat16", "fp32", "bf16"}, default="auto"
        Arithmetic of the hidden layers in training. "auto" is bfloat16 where the device computes
        it fast. Scores and samples of tables are computed in float64 always, those of images as
        in training, with sums in float64.
    compile : bool, default=False
        Whether training runs through ``torch.compile``.
    verbose : int, default=0
        Above 0, print the validation score at each evaluation.
    random_state : int, RandomState instance or None, default=None
        Controls fit and the noise inside scores, and samples unless ``sample`` is given its own;
        with an int every call of ``sample`` gives the same rows.

    Attributes
    ----------
    basis_, schedule_, network_ : objects
        The specifications in use; the basis is fitted. The network sees noise levels and no
        times: another schedule may be put in the place of ``schedule_``, and scores and samples
        follow its path with the same weights.
    bin_width_ : None or ndarray of shape (n_features,)
        Bin widths in use, NaN for continuous columns; None if all are continuous.
    weights_ : dict of str to ndarray
        Weights of the network.
    time_weights_ : ndarray
        Relative density at which scores draw times, under the schedule that was fitted; under
        another it is uniform.
    n_iter_ : int
        Passes made, those of earlier calls included with ``warm_start`` and ``partial_fit``.
    loss_curve_ : list of float
        Mean training loss of each pass: minus the log-likelihood in nats per dimension, dropout
        included, or the mean square of the noise's error with ``loss_weighting="uniform"``.
    validation_scores_ : list of float
        Mean log-likelihood of the validation rows at each evaluation, in nats per dimension; the
        first is the untrained model's.
    validation_iters_ : list of int
        Passes made at each evaluation.
    best_validation_score_ : float or None
        The score of the weights that were kept.
    conditional_rate_ : float
        Share of rows in mixed states.
    n_parameters_ : int
        Weights in the network.
    classes_, class_prior_ : ndarray of shape (n_classes,)
        Classes and their frequencies, with ``class_conditional``.
    n_features_in_ : int
        Number of columns; of images, of values in one image.
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

    _parameter_constraints = {
        "basis": [str, HasMethods("fit")],
        "schedule": [str, HasMethods("build")],
        "network": [str, HasMethods("build"), callable],
        "sampler": [str, HasMethods("build")],
        "bin_width": [str, None, Real, "array-like"],
        "shape": [None, tuple, list],
        "bin_range": [None, "array-like"],
        "likelihood": [StrOptions({"bound", "flow"})],
        "preconditioning": [StrOptions({"auto", "mixture", "joint", "marginal", "gaussian"})],
        "retrieval": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "loss_weighting": [StrOptions({"likelihood", "uniform"})],
        "class_conditional": ["boolean"],
        "random_flips": ["boolean"],
        "conditional_rate": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "conditioning": [StrOptions({"auto", "exact", "posterior", "repaint"})],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "accumulation_steps": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "optimizer": [StrOptions({"muon", "adamw"})],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16", "fp32", "bf16"})],
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
        shape=None,
        bin_width="auto",
        bin_range=None,
        likelihood="bound",
        preconditioning="auto",
        retrieval=0,
        loss_weighting="likelihood",
        class_conditional=False,
        random_flips=False,
        conditional_rate="auto",
        conditioning="auto",
        max_iter="auto",
        max_time=None,
        batch_size="auto",
        accumulation_steps=1,
        learning_rate_init="auto",
        optimizer="muon",
        weight_decay="auto",
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
        self.shape = shape
        self.bin_width = bin_width
        self.bin_range = bin_range
        self.likelihood = likelihood
        self.preconditioning = preconditioning
        self.retrieval = retrieval
        self.loss_weighting = loss_weighting
        self.class_conditional = class_conditional
        self.random_flips = random_flips
        self.conditional_rate = conditional_rate
        self.conditioning = conditioning
        self.max_iter = max_iter
        self.max_time = max_time
        self.batch_size = batch_size
        self.accumulation_steps = accumulation_steps
        self.learning_rate_init = learning_rate_init
        self.optimizer = optimizer
        self.weight_decay = weight_decay
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
        X : array-like or DataFrame of shape (n_samples, n_features), or images of shape \
                (n_samples, height, width) or (n_samples, height, width, channels)
            Numbers; NaN where a value is missing (at random), in columns that the basis does not
            mix with others. From three tenths of the budget on holes are filled by draws, unless
            ``conditional_rate`` is 0.
        y : array-like of shape (n_samples,) or None
            Labels, with ``class_conditional``; ignored without.

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
        with unchanged_on_error(self):
            X, labels, seed = self._prepare(X, y, again, judged=True)
            seed = derive_seed(self.random_state) if seed is None else seed
            trainer = self._make_trainer(len(X), seed)
        _TRAINERS.pop(self, None)
        budget.max_iter = self._n_passes(len(X))
        context = self._init_callback_context(max_subtasks=budget.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)
        self._train(X, labels, trainer, budget, seed, context)
        context.call_on_fit_task_end(estimator=self, X=X, reconstruction_attributes=dict)
        return self

    def partial_fit(self, X, y=None):
        """Make one pass over rows, at the full learning rate.

        The first call fits basis and marginals to its rows, and later calls keep them: many calls
        are not the same as one fit to all rows, and the first should hold typical ones. No rows are
        set aside for validation, and no holes are filled. The optimiser's settings, and how much
        parts of rows count, are those of the first call and follow the number of its rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``fit``; after the first call a column may be all NaN.
        y : array-like of shape (n_samples,), default=None
            Labels, with ``class_conditional``; ignored without.

        Returns
        -------
        self : GUDGenerator
        """
        again = hasattr(self, "weights_")
        with unchanged_on_error(self):
            X, labels, seed = self._prepare(X, y, again, judged=False)
            trainer = _TRAINERS.get(self) if again else None
            if trainer is None:
                seed = derive_seed(self.random_state) if seed is None else seed
                trainer = self._make_trainer(len(X), seed)
            else:
                path = _fitting.build_path(self._encoding, self.schedule_)
                trainer.path = path.to(trainer.device, torch.float32)
                trainer.states.rate = self.conditional_rate_
        # A trainer that fails is not used again: its weights are spoilt.
        _TRAINERS.pop(self, None)
        if trainer is not None:
            log = run_epochs(
                trainer,
                self._rows_on_device(X, labels, trainer),
                Budget(None, None),
                blame=self._encoding.extreme_column,
                units=self._loss_units(X),
            )
            self._note(log)
            _TRAINERS[self] = trainer
        else:
            self.n_iter_ += 1
        return self

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        named = isinstance(self.basis, str) and self.basis in ("auto", "identity", "block")
        tags.input_tags.allow_nan = named or isinstance(self.basis, IdentityBasis | BlockBasis)
        tags.target_tags.required = self.class_conditional
        return tags
