"""The estimator: fit, sample, score."""

import math
from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.validation import check_is_fitted

from gudlearn._atomic import isolated, isolated_iterator, unchanged_on_error
from gudlearn._constraints import HasMethods, Interval, StrOptions, validate_set_later
from gudlearn._specs import NamedSpecs, resolve
from gudlearn.bases import BlockBasis, IdentityBasis
from gudlearn.data.columns import check_n_samples, column_names
from gudlearn.data.given import index_of, place_of
from gudlearn.diagnosis.run import run_diagnosis
from gudlearn.model.build import fitted_model
from gudlearn.model.extension import Extension
from gudlearn.model.prediction import Prediction
from gudlearn.model.sampling import Sampling, as_probabilities, auto_sampler
from gudlearn.model.scoring import Scoring
from gudlearn.model.state import learned_attributes
from gudlearn.model.summaries import Summaries
from gudlearn.model.user_data import UserData
from gudlearn.training.fit import Fit, PartialFit
from gudlearn.training.loop import Budget
from gudlearn.training.parts import divided_model
from gudlearn.training.prepare import continued_state, first_state
from gudlearn.training.sweep import Further, run_sweep


@learned_attributes
class GUDGenerator(NamedSpecs, CallbackSupportMixin, DensityMixin, BaseEstimator):
    """Diffusion model of the rows of a table, of any kinds of columns, or of images.

    Parameters
    ----------
    basis : {"auto", "identity", "pca", "fourier", "wavelet", "block"} or Basis, default="auto"
        The components in which noise acts. "auto" is ``IdentityBasis(whiten=True)``: standardised
        columns or pixels. Bases of images take ``shape`` and ``channels`` from the images.
    schedule : {"auto", "linear", "cosine", "vp", "soft", "sequential"} or Schedule, default="auto"
        The path of each component from data to noise. "auto" is ``LinearSchedule()``; given a
        nested ``schedule__softness`` it becomes ``SoftConditioningSchedule``.
    network : {"auto", "mlp", "unet", "transformer"}, MLP, UNet, Transformer or callable, \
            default="auto"
        The network that corrects the closed-form denoiser, see :mod:`gudlearn.networks`. "auto" is
        ``MLP()`` for tables and ``UNet()`` for images; given a nested ``network__width`` it becomes
        ``MLP``, so set ``network="unet"`` as well for images.
    sampler : {"auto", "dpm-solver", "ddim", "ancestral", "heun", "euler-maruyama"} or Sampler, \
            default="auto"
        How samples are drawn; may be set after fit. "auto" is ``DPMSolver`` with 50 steps, and more
        where components are active in short windows one after another, or there are more
        categories; with one for each column where all are categories.
    schema : "auto" or Schema, default="auto"
        The types of a table's columns, which "auto" finds: see :class:`gudlearn.Schema`. Categories
        are masked, numbers diffuse; values that repeat far more often than their neighbours are
        point masses.
    training : "auto" or Training, default="auto"
        How a fit runs, and on how many processes, which samples and scores use as well; see
        :class:`gudlearn.Training`.
    bin_width : "auto", None, float or array-like of shape (n_features,), default="auto"
        Distance between neighbouring values of discrete columns, in the units of X. Scores of
        columns with a bin width are log-probabilities; NaN or None stands for continuous columns.
        "auto": columns of integer dtypes have width 1; of a table's floats those on a grid of
        decimals have its width, with scores that stay densities, and others are continuous.
    shape : None, (height, width) or (height, width, channels), default=None
        Shape of one image where X holds flat rows of images, channels last. Arrays of three or
        four dimensions are images without it.
    bin_range : None, (low, high) or array-like of shape (n_features, 2), default=None
        Smallest and largest value of discrete columns. With None, values outside the range of the
        data have a small probability, 1/(n + 2) per column in total; for images of dtype uint8
        with bins of width 1 the range is (0, 255).
    likelihood : {"bound", "flow"}, default="bound"
        The log-likelihood that scores return: the variational bound (ELBO), or the density of the
        probability flow. May be set after fit.
    preconditioning : {"auto", "mixture", "joint", "marginal", "gaussian"}, default="auto"
        The closed-form model that the network starts from. "marginal": the product of fitted
        marginals (mixtures of Gaussians, or the frequencies of discrete columns). "joint": the
        marginals and the correlations of all components, and of the classes if there are any; for
        up to 256 components. "mixture": up to 16 clusters of rows, each with a "joint" model
        without classes; their number is the one that scores best on held-out rows. If the data are
        a mixture of a few Gaussians it is nearly exact before training, but training is slower.
        Categories are a mixture of up to 64 latent classes, which numbers help to tell apart;
        their number is chosen the same way: better after a few seconds of training, no better or
        slightly worse after more. The other kinds start from independent categories.
        "gaussian": one Gaussian for each component. "auto" is "joint" for tables and continuous
        images where it is possible, else "marginal".
    retrieval : int or "auto", default=0
        Largest number of training rows that are kept for the network to look up (the reference
        set): kernel densities around them are among its inputs. In training no row sees itself.
        Where rows have near neighbours, as in many small tables, it improves conditional
        distributions much, densities hardly. If most rows are unique, only one of equal rows is
        kept. Time grows with the number of rows kept. The scores of these rows themselves are too
        high, as in any kernel density estimate, and overlapping rows, such as windows of a series,
        teach the network to copy. "auto" is 2048 for tables, drawn at random from larger ones, and
        0 for images.
    n_draws : int or {"auto", "coarse"}, default="auto"
        Draws of noise for each row in scores: evaluations of the network. "auto" takes 6 for each
        component, from 64 to 384, and fewer where the joint Gaussian of the components explains the
        data: in proportion to the variance that it leaves, down to 32. "coarse" takes 32, for
        rankings and searches; a row's score then has a standard error of some tenths of a nat to
        some nats, see ``return_std`` of ``score_samples``. Up to eight times as many where
        components are generated one after another. 32 and 16 for images. May be set after fit.
    loss_weighting : {"likelihood", "uniform"}, default="likelihood"
        Weights of noise levels in training: those of the bound, or equal weights for the error of
        the predicted noise (for better-looking samples).
    class_conditional : bool, default=False
        Whether fit uses the labels y; samples and scores can then be conditioned on a class.
    random_flips : bool, default=False
        Whether images are mirrored, left to right, with probability one half in training; for
        networks of images.
    conditional_rate : float in [0, 1] or "auto", default="auto"
        Fraction of the rows that are partially observed in training: some of their values are
        observed or missing, or components are active one after another. One fit then models
        every conditional and marginal distribution; 0.3 is good for all of them at little cost.
        "auto" is 0.3 where values are missing, or X holds categories or point masses beside
        numbers, 0.8 with ``targets``, else 0, and not less than in an earlier fit that is
        continued. Values are masked by column or pixel; with a basis that mixes columns by
        component, which serves schedules that are set after the fit.
    targets : None, str, int or list of them, or "all", default=None
        Names, or of an array indices, of columns that will be asked for given the others. Most of
        the partially observed rows in training then have these as targets, and all other columns
        observed or some of them missing. Weights are judged by the score of these columns given
        the others, and ``validation_scores_`` are these. A ``conditional_rate`` of "auto" is 0.8.
        "all": whatever is missing will be asked for. Values of training rows are hidden at random,
        or like those of another row; conditional means and probabilities then take one evaluation
        of the network. A column of that name is ``["all"]``.
    conditioning : {"auto", "exact", "posterior", "repaint"}, default="auto"
        How samples are made to agree with observed values; may be set after fit. "exact" holds
        observed components at their lowest noise level, for a network that was trained on such
        rows. "posterior" guides the denoiser by the moments of the data given the noisy state.
        "repaint" replaces denoised values by the observed ones and repeats each step ten times.
        "auto" is "exact" where observed columns make whole components and ``conditional_rate_`` is
        above 0, else "posterior"; see :meth:`conditioning_method`.
    max_iter : int or "auto", default="auto"
        Number of epochs; 0 leaves the model untrained. "auto" is 100 plus the number of rows, at
        most 700 epochs (500 from 3000 rows, and with ``targets`` or ``retrieval``) and 6 million
        rows seen; with ``max_time`` only the time is limited.
    max_time : float or None, default=None
        Seconds of training, preparation included. Training ends at the first of the two limits;
        the learning rate decays to zero by then.
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" is a 700th of the square of the number of training rows, between
        64 and 1024: all of 700 rows. A quarter of them with ``targets`` or ``retrieval``; 32 for
        a network of images.
    accumulation_steps : int, default=1
        Number of parts in which a batch goes through the network. Their gradients are summed: the
        step is the same and needs less memory.
    learning_rate_init : float or "auto", default="auto"
        Largest learning rate of AdamW. Muon's is 2.5 times as large. "auto" is 4e-3, and 6e-3 for a
        network of images.
    optimizer : {"muon", "adamw"}, default="muon"
        Muon orthogonalises the update of each hidden matrix and leaves all other weights to AdamW.
    weight_decay : float or "auto", default="auto"
        Fraction of the weights, times the learning rate, that is subtracted at each step. "auto" is
        150 divided by the number of rows, between 0.01 and 0.1.
    early_stopping : bool, default=False
        Whether to stop when the validation score has not risen by ``tol`` for
        ``n_iter_no_change`` evaluations. By default the whole budget is used. The best weights
        are kept in either case; with NaN in X, the best since missing values were last imputed, or
        the initial ones.
    validation_fraction : float in [0, 1), default=0.1
        Fraction of the rows, at most 8192 (512 images), that are held out to choose the best
        weights; untrained ones only if others are worse by more than a standard error. The
        network is never trained on them; basis and marginals are fitted to all rows.
    n_iter_no_change : int, default=10
        Evaluations without progress before stopping early; there are about 30 in a full run.
    tol : float, default=1e-4
        Smallest improvement that counts as progress, in nats per dimension.
    warm_start : bool, default=False
        Whether fit continues from the weights, basis and marginals of the last fit. The schedule
        and the training parameters may change in between.
    device : str, default="auto"
        Where to compute. "auto" is a CUDA device if there is one, else the CPU.
    precision : {"auto", "float32", "bfloat16", "fp32", "bf16"}, default="auto"
        Arithmetic of the hidden layers in training. "auto" is bfloat16 where the device computes
        it fast. Samples of tables are computed in float64, their scores with a network in float32;
        scores and samples of images as in training. Sums of scores are in float64.
    compile : bool, default=False
        Whether training runs through ``torch.compile``.
    verbose : int, default=0
        1 shows one line while ``fit`` runs, which is rewritten (outside a terminal a line at each
        evaluation): epochs or seconds, loss, held-out bits per dimension, time left. 2 prints a
        line at each evaluation. Above 0, sampling and scoring of more than five seconds show how
        far they are, too.
    random_state : int, RandomState instance or None, default=None
        Controls fit and the noise inside scores, and samples unless ``sample`` is given its own;
        with an int every call of ``sample`` gives the same rows.

    Attributes
    ----------
    state_ : ModelState
        Everything that was learned, as one frozen object of NumPy arrays and plain values; what is
        pickled. The attributes below read from it.
    basis_, schedule_, network_ : objects
        The specifications in use; the basis is fitted. The network sees noise levels, not times:
        ``schedule_`` may be set to another schedule, and scores and samples then follow that
        schedule with the same weights.
    schema_ : TableSchema or None
        What was decided about the columns of a table; shows itself as text and HTML.
    bin_width_ : None or ndarray of shape (n_features,)
        Bin widths in use, NaN for continuous columns; None if all are continuous.
    weights_ : dict of str to ndarray
        Weights of the network.
    time_weights_ : ndarray
        Relative heights of the importance-sampling density from which scores draw times, under the
        schedule of the fit; under any other schedule times are uniform.
    n_iter_ : int
        Number of epochs; with ``warm_start`` and ``partial_fit``, of all calls together.
    loss_curve_ : list of float
        Mean training loss of each epoch, with dropout: the negative log-likelihood in nats per
        dimension, or the mean squared error of the noise with ``loss_weighting="uniform"``.
    validation_scores_ : list of float
        Mean log-likelihood of the validation rows at each evaluation, in nats per dimension; the
        first is the untrained model's.
    validation_iters_ : list of int
        Number of epochs before each evaluation.
    best_validation_score_ : float or None
        The score of the weights that were kept.
    validation_index_ : ndarray of int or None
        Rows of X on which the weights were judged; None without validation.
    conditional_rate_ : float
        Fraction of the training rows that were partially observed.
    n_parameters_ : int
        Number of trained weights of the network.
    classes_, class_prior_ : ndarray of shape (n_classes,)
        Classes and their frequencies, with ``class_conditional``.
    sample_shape_ : tuple of int
        Shape of one sample in X: (n_features,), or that of one image.
    n_features_in_ : int
        Number of columns, or of values in one image.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they were strings.

    Notes
    -----
    Components z of a row diffuse as :math:`x_i = \\alpha_i z_i + \\sigma_i \\epsilon_i`. The score
    is the variational bound of Kingma et al. (2021), https://arxiv.org/abs/2107.00630, for a vector
    of noise levels. Its noise is keyed by the values of each row: scores are deterministic, and the
    score of a row does not depend on other rows.

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
    >>> gen = GUDGenerator(max_iter=10, random_state=0).fit(X)
    >>> gen.sample(3).shape
    (3, 4)
    >>> gen.score_samples(X[:10]).shape
    (10,)
    """

    _parameter_constraints = {
        "basis": [str, HasMethods("fit")],
        **dict.fromkeys(["schedule", "sampler", "schema"], [str, HasMethods("build")]),
        "network": [str, HasMethods("build"), callable],
        "training": [str, HasMethods("check_params")],
        "bin_width": [str, None, Real, "array-like"],
        "shape": [None, tuple, list],
        "bin_range": [None, "array-like"],
        "likelihood": [StrOptions({"bound", "flow"})],
        "n_draws": [StrOptions({"auto", "coarse"}), Interval(Integral, 1, None, closed="left")],
        "preconditioning": [StrOptions({"auto", "mixture", "joint", "marginal", "gaussian"})],
        "retrieval": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "loss_weighting": [StrOptions({"likelihood", "uniform"})],
        **dict.fromkeys(["class_conditional", "random_flips"], ["boolean"]),
        **dict.fromkeys(["early_stopping", "warm_start", "compile"], ["boolean"]),
        "conditional_rate": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "targets": [None, str, Integral, "array-like"],
        "conditioning": [StrOptions({"auto", "exact", "posterior", "repaint"})],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "accumulation_steps": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "optimizer": [StrOptions({"muon", "adamw"})],
        "weight_decay": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "device": [str],
        "precision": [StrOptions({"auto", "float32", "bfloat16", "fp32", "bf16"})],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self, basis="auto", schedule="auto", network="auto", sampler="auto", *, schema="auto",
        training="auto", shape=None, bin_width="auto", bin_range=None, likelihood="bound",
        n_draws="auto", preconditioning="auto", retrieval=0, loss_weighting="likelihood",
        class_conditional=False, random_flips=False, conditional_rate="auto", targets=None,
        conditioning="auto", max_iter="auto", max_time=None, batch_size="auto",
        accumulation_steps=1, learning_rate_init="auto", optimizer="muon", weight_decay="auto",
        early_stopping=False, validation_fraction=0.1, n_iter_no_change=10, tol=1e-4,
        warm_start=False, device="auto", precision="auto", compile=False, verbose=0,
        random_state=None,
    ):  # fmt: skip
        self.basis = basis
        self.schedule = schedule
        self.network = network
        self.sampler = sampler
        self.schema = schema
        self.training = training
        self.shape = shape
        self.bin_width = bin_width
        self.bin_range = bin_range
        self.likelihood = likelihood
        self.n_draws = n_draws
        self.preconditioning = preconditioning
        self.retrieval = retrieval
        self.loss_weighting = loss_weighting
        self.class_conditional = class_conditional
        self.random_flips = random_flips
        self.conditional_rate = conditional_rate
        self.targets = targets
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
    @isolated
    def fit(self, X, y=None):
        """Fit basis and marginals, and train the network.

        Parameters
        ----------
        X : array-like, frame of pandas, polars or pyarrow of shape (n_samples, n_features), \
                images of shape (n_samples, height, width) or (n_samples, height, width, \
                channels), or a table that is larger than memory
            Columns of a frame may hold numbers, text, categories, booleans or times, see
            :class:`gudlearn.Schema`. NaN or null marks a missing value (missing at random), in
            columns that the basis does not mix with others. Missing values are imputed by draws
            several times during training, unless ``conditional_rate`` is 0.
            A table that is larger than memory is the path of a Parquet file or of a folder of them
            (``str`` or ``Path``; ``pip install "gudlearn[stream]"``), a 2-D ``numpy.memmap``, an
            object whose ``__iter__`` yields frames or 2-D arrays, the same at each call, or a
            ``torch.utils.data.Dataset`` whose items are rows. Up to 25 million entries it is read
            into memory; beyond, it is read block by block, and an epoch is 131,072 of its rows, or
            fewer if they are wide. See the page on data larger than memory.
        y : array-like of shape (n_samples,) or None
            Labels, with ``class_conditional``; ignored without.

        Returns
        -------
        self : GUDGenerator

        Raises
        ------
        ValueError
            For bad parameters or data, or a checkpoint of another fit; what was fitted before is
            then unchanged.
        TypeError
            If X is no table, or can be read only once.
        OSError, ImportError
            If X is the path of no file, or of Parquet files and pyarrow is not installed, or a
            checkpoint cannot be written before training; what was fitted is unchanged.
        FloatingPointError
            If the loss stops being finite; the last good weights are kept.
        KeyboardInterrupt
            With Ctrl-C. In training the best weights so far are kept, and a warning says so.

        Warns
        -----
        UserWarning
            If ``max_time`` has passed before training began, or a checkpoint could not be written
            while the network was trained.
        """
        budget = Budget(None, self.max_time)
        with unchanged_on_error(self):
            rows, seed = self._prepare(X, y, self.warm_start, whole=True)
            task = Fit(self, rows, seed, self._keep)
        task.run(X, budget, self._init_callback_context)
        return self

    @isolated
    def partial_fit(self, X, y=None):
        """Make one epoch over rows, at the full learning rate.

        The first call fits basis and marginals to its rows, and later calls keep them: many calls
        are not the same as one fit to all rows, and the rows of the first call should be typical.
        No rows are held out for validation, and no missing values are imputed. The optimiser's
        settings, and the weight of partially observed rows, are chosen in the first call by the
        number of its rows.

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
        continued = hasattr(self, "state_")
        with unchanged_on_error(self):
            rows, seed = self._prepare(X, y, continued, whole=False)
            task = PartialFit(self, rows, seed, self._keep, continued)
        task.run()
        return self

    def _prepare(self, X, y, continued, whole):
        """Read X, and fit everything but the network, or keep it from an earlier fit.

        Returns
        -------
        rows : Rows
        seed : int or None
            None if an earlier fit is continued.
        """
        self._validate_params()
        if continued and hasattr(self, "state_"):
            state, rows, seed = continued_state(self, X, y, whole)
        else:
            state, rows, seed = first_state(self, X, y, whole)
        self._keep(state)
        return rows, seed

    def _keep(self, state):
        self.state_ = state

    # For tools that are built around a generator

    @isolated
    def fitted_model(self, dtype=None):
        """The fitted model on its device, for tools that are built around a generator.

        Parameters
        ----------
        dtype : torch.dtype or None, default=None
            None is float64 for tables, float32 for images.

        Returns
        -------
        FittedModel
            Computes scores and samples of ``gudlearn.data.rows.Rows`` in the units of the data,
            as arrays, not in the container of X.
        """
        check_is_fitted(self)
        key = int(self.random_state) if isinstance(self.random_state, Integral) else 0
        options = {"device": self.device, "precision": self.precision, "dtype": dtype}
        return fitted_model(self.state_, key=key, verbose=self.verbose, **options)

    def sampling(self):
        """Sampling without the container of X, for tools that are built around a generator.

        Returns
        -------
        Sampling
        """
        fitted, conditioning = divided_model(self), self._set_later("conditioning")
        sampler = resolve("sampler", self.sampler)
        if isinstance(self.sampler, str) and self.sampler == "auto":
            sampler = auto_sampler(sampler, self.state_)
        return Sampling(self.state_, fitted, sampler, conditioning)

    @isolated
    def prediction(self, column):
        """Predictions of one column of ``gudlearn.data.rows.Rows`` given the others, for tools.

        Parameters
        ----------
        column : str or int
            Name of a column; index of a column of an array.

        Returns
        -------
        Prediction
            Computes in float32.
        """
        fitted = self.fitted_model(torch.float32)
        return Prediction(self.state_, fitted, place_of("column", column, self.state_.container))

    def scoring(self, n_draws=None):
        """Scoring of ``gudlearn.data.rows.Rows``, for tools that are built around a generator.

        Parameters
        ----------
        n_draws : int, {"auto", "coarse"} or None, default=None
            None is the parameter of the estimator.

        Returns
        -------
        Scoring
        """
        likelihood, n_draws = self._set_later("likelihood"), self._set_later("n_draws", n_draws)
        return Scoring(self.state_, divided_model(self), likelihood, n_draws)

    @property
    def uses_reference_set(self):
        """Whether the network looks up training rows, see ``retrieval``."""
        return self.state_.preconditioner.reference is not None

    def _set_later(self, name, value=None):
        """A parameter that may be set after fit, or a value in its place, checked as in fit."""
        return validate_set_later(self, name, self._parameter_constraints, value)

    def _data(self):
        """Reads what users pass, and puts results into the container of X."""
        check_is_fitted(self)
        return UserData(self, self.state_)

    # Samples

    @isolated
    def sample(
        self, n_samples=1, y=None, *, given=None, where=None, observation=None, guidance=1.0,
        return_y=False, random_state=None,
    ):  # fmt: skip
        """Draw rows or images, from the whole distribution or given observed values.

        Parameters
        ----------
        n_samples : int, default=1
            With ``given``, or an observation of several rows, the number of samples for each.
        y : array-like of shape (n_samples,), one label or None, default=None
            Classes to draw from, with ``class_conditional``. None draws them by their frequency.
            With ``given``, one label for each of its rows; None is then all classes together.
        given : dict, Series, array-like or DataFrame of shape (n_rows, n_features), images, or \
                None, default=None
            Partially observed rows; NaN marks the values to be drawn. A row without observed
            values is drawn from the whole distribution, a complete one comes back as it is. A dict
            of values by column, or a Series, is one row, and a dict of lists several; these and a
            frame hold the known columns only, as they like.
        where : dict or None, default=None
            Conditions by column: a closed range (low, high) of numbers, times or ordered levels,
            of which one end may be None, or a list of values. Rows are drawn from the model given
            all conditions: by rejection, and where they concern categories by drawing these from
            their levels first.
        observation : tuple (A, y, noise_std) or None, default=None
            Linear functions of a row that are observed: y = A x + noise, in the units of X. A is
            an array of shape (m, n_features), y of shape (m,) or (n_rows, m), noise_std a number
            of at least 0 or one for each of m, and 0 with ``conditioning="repaint"``. Images
            count as flat rows here. Columns that the model maps to normal ones cannot take part:
            fit with ``schema=Schema(gaussianize=False)``. Columns with bins are rounded to their
            bins afterwards, which changes A x accordingly.
        guidance : float, default=1.0
            Classifier-free guidance, with ``class_conditional``: 1 samples the model of the class,
            larger values exaggerate what distinguishes the class, 0 ignores it.
        return_y : bool, default=False
            Whether to return the classes of the rows as well, with ``class_conditional``.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's. For one seed the first k of n rows are the k rows; with
            ``given``, the first k of n draws of all of its rows.

        Returns
        -------
        X : array or DataFrame of shape (n_samples, n_features), or images
            The container, shape, columns and dtypes of the X that was fitted. With ``given``, or
            an observation of several rows, of shape (n_rows, ...) where n_samples is 1, with the
            index of ``given``. Several draws of an array are one of shape (n_samples, n_rows, ...),
            those of a frame one frame, draw after draw: in pandas with an index of the levels
            ("draw", "row"), in polars and pyarrow without. Observed entries are those of ``given``,
            to the bit where the dtype of X holds them; on a grid that was found, the nearest level.
        y : ndarray of shape (n_samples,) or (n_samples, n_rows)
            Labels, only with ``return_y=True``.

        Raises
        ------
        ValueError
            If n_samples is not a positive whole number, y holds an unknown class, y or guidance is
            passed to a model that was fitted without labels, guidance is passed with ``given`` but
            without y, ``given`` has another shape or values off the grid of their column, a column
            or a level of ``given`` or ``where`` is unknown, a range is empty or reversed, or hardly
            any row satisfies ``where``.
        TypeError
            If a condition of ``where`` is not of the column's type.

        Warns
        -----
        UserWarning
            If the model was fitted with ``conditional_rate=0``, and its samples are therefore only
            guided by the observed values, or condition on them although the network never saw such
            rows. If fewer than one row in a hundred satisfies ``where``.

        Notes
        -----
        Samples are exact, up to the network's error, where :meth:`conditioning_method` says so;
        elsewhere the observed values guide the denoiser. If one row of ``given`` needs guidance,
        all rows are guided.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=5, random_state=0).fit(X)
        >>> partial = X[:2].copy()
        >>> partial[:, 2:] = np.nan
        >>> gen.sample(given=partial).shape, gen.sample(5, given=partial).shape
        ((2, 4), (5, 2, 4))
        >>> gen.sample(3, where={"x0": (5.0, 6.0)})[:, 0].max() <= 6.0
        np.True_
        """
        data, random_state = self._data(), self._random_state(random_state)
        data.check_return_y(return_y, y, given, observation)
        rows, where = None if given is None else data.partial(given), data.where(where)
        drawn, labels = self.sampling().answer(
            n_samples, rows, observation, y, guidance, random_state, where
        )
        X = data.drawn(drawn, given)
        return (X, data.labels(labels)) if return_y else X

    def _random_state(self, random_state):
        check_is_fitted(self)
        return self.random_state if random_state is None else random_state

    @isolated
    def iter_sample(self, n_samples, *, block_size=10_000, random_state=None):
        """Draw the rows or images of ``sample`` in blocks, in constant memory.

        Parameters
        ----------
        n_samples : int
        block_size : int, default=10000
            Number of rows of a block; the last may have fewer.
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        iterator of array or DataFrame of shape (block_size, n_features), or of images
            One after another they are ``sample(n_samples)`` of the same seed, to the bit.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> gen = GUDGenerator(max_iter=0, random_state=0).fit(load_iris().data)
        >>> [len(block) for block in gen.iter_sample(5, block_size=2)]
        [2, 2, 1]
        """
        blocks = self.sampling().blocks(n_samples, block_size, self._random_state(random_state))
        return isolated_iterator(map(self._data().drawn, blocks))

    @isolated
    def sample_trajectory(
        self, n_samples=1, n_states=9, y=None, *, guidance=1.0, random_state=None
    ):
        """Draw rows or images, and return the states that they pass through.

        Parameters
        ----------
        n_samples : int, default=1
        n_states : int, default=9
            Number of states, evenly spaced over the sampler's steps.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``sample``.
        guidance : float, default=1.0
            As in ``sample``.
        random_state : int, RandomState instance or None, default=None
            As in ``sample``, which draws the same samples from the same seed.

        Returns
        -------
        Trajectory
            ``t``, from 1 to 0; ``denoised`` and ``noisy`` states in the units of the data, floats
            of shape (n_states, n_samples, ...); and their ``components``. The last noisy state is
            the sample before it is rounded to bins.

        Raises
        ------
        ValueError
            As in ``sample``, if n_states is less than 2 or more than the sampler visits, or if
            nothing in the data varies.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> gen = GUDGenerator(max_iter=0, random_state=0).fit(load_iris().data)
        >>> trajectory = gen.sample_trajectory(2, n_states=5)
        >>> trajectory.t[[0, -1]], trajectory.denoised.shape
        (array([1., 0.]), (5, 2, 4))
        """
        random_state = self._random_state(random_state)
        return self.sampling().trajectory(n_samples, n_states, y, guidance, random_state)

    def conditioning_method(self, mask):
        """The method by which samples are drawn given a set of observed columns.

        Parameters
        ----------
        mask : list of str, list of int, or bool array of shape (n_features,)
            The observed columns; for images a mask of the shape of one image, or of its height and
            width.

        Returns
        -------
        {"exact", "posterior", "repaint"}
            The value of ``conditioning``. "auto" is "exact" where observed columns make whole
            components and the network was trained on partially observed rows, else "posterior".
        """
        sampling = self.sampling()
        return sampling.method(self._data().mask("mask", mask)[None])

    @isolated
    def conditional_mean(self, X, *, n_samples=100, random_state=None):
        """Expected values of the missing entries of rows.

        Parameters
        ----------
        X : dict, Series, array-like or DataFrame of shape (n_rows, n_features), or images
            As ``given`` of ``sample``. A class-conditional model averages over the classes.
        n_samples : int, default=100
            Draws of noise for each row, rounded up to an even number where they come in pairs (see
            Notes).
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        ndarray of shape (n_rows, n_features), frame, or images of floats
            Observed entries are those of X. Whole numbers become floats, means of times are
            rounded to a tick; of categories it is the most probable level. A value that may be
            missing has the mean of those that are not.

        Notes
        -----
        The mean of n samples has, in each entry, a standard error of the conditional standard
        deviation divided by the square root of n. Where :meth:`conditioning_method` is "exact" the
        mean is taken over the denoiser's output at t = 1/2, which has the same expectation and less
        variance. The noise comes in antithetic pairs, whose errors cancel where the data are
        normal. It takes about half as long as sampling with 20 steps.
        """
        rows = self._data().partial(X)
        return self._summaries(n_samples, random_state).mean(rows, index_of(X))

    @isolated
    def conditional_quantile(self, X, q, *, n_samples=100, random_state=None):
        """Quantiles of each missing entry of rows given the observed ones, by sampling.

        Parameters
        ----------
        X : dict, Series, array-like or DataFrame of shape (n_rows, n_features), or images
            As ``given`` of ``sample``. A class-conditional model averages over the classes.
        q : float or array-like of shape (n_quantiles,)
            Probabilities in [0, 1].
        n_samples : int, default=100
            Draws for each row. The probability below a returned quantile has a standard error of
            sqrt(q (1 - q) / n_samples).
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        ndarray of shape (n_rows, n_features) or (n_quantiles, n_rows, n_features), frame, or images
            Observed entries are those of X. Several quantiles of a frame are one frame, in pandas
            with an index of the levels ("quantile", "row").

        Raises
        ------
        ValueError
            If q is no probability, or an entry of a column without order is missing.
        """
        check_is_fitted(self)
        q = as_probabilities("q", q)
        rows = self._data().partial(X)
        return self._summaries(n_samples, random_state).quantile(rows, q, index_of(X))

    @isolated
    def conditional_proba(self, X, column, *, n_samples=100, random_state=None):
        """Probabilities of the levels of a column given the other observed columns of each row.

        Parameters
        ----------
        X : dict, Series, array-like or DataFrame of shape (n_rows, n_features)
            As ``given`` of ``sample``. Values of the column itself are not looked at. A
            class-conditional model averages over the classes.
        column : str or int
            Name of a column of categories, or with point masses; index of a column of an array.
        n_samples : int, default=100
            Draws of noise for each row where other values are missing. Where none is, the network
            is evaluated once.
        random_state : int, RandomState instance or None, default=None
            As in ``sample``.

        Returns
        -------
        ndarray of shape (n_rows, n_levels), or frame
            A frame's columns are named by the levels. A column with point masses has one for each
            of them, "missing" if missing values are modelled, and "other" for all other values.

        Raises
        ------
        ValueError
            If the column is unknown or has no levels.

        Examples
        --------
        >>> import pandas as pd
        >>> from gudlearn import GUDGenerator
        >>> X = pd.DataFrame({"kind": ["a", "b"] * 30, "size": range(60)})
        >>> gen = GUDGenerator(max_iter=0, conditional_rate=0.3, random_state=0).fit(X)
        >>> gen.conditional_proba({"size": [3, 4]}, "kind").columns.tolist()
        ['a', 'b']
        """
        rows = self._data().partial(X)
        return self._summaries(n_samples, random_state).probabilities(rows, column, index_of(X))

    def _summaries(self, n_samples, random_state):
        return Summaries(self.sampling(), n_samples, self._random_state(random_state))

    # Scores

    @isolated
    def score_samples(self, X, y=None, *, given_columns=None, n_draws=None, return_std=False):
        """Log-likelihood of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), images, or a table that is \
                larger than memory
            The latter, as in ``fit``, is read block by block. NaN marks a missing value, in bases
            that do not mix its column with others: the score of such a row is that of the observed
            values, log p(observed).
        y : array-like of shape (n_samples,), one label or None, default=None
            With ``class_conditional`` the density given these labels; None is the density that
            the network learned without them.
        given_columns : list of str, list of int, bool array of shape (n_features,) or None, \
                default=None
            Columns to condition on: the score is log p(others | these). For images a mask of the
            shape of one image, or of its height and width.
        n_draws : int, {"auto", "coarse"} or None, default=None
            Draws of noise for each row; None is the parameter of the estimator.
        return_std : bool, default=False
            Whether to return the standard errors that the draws leave as well.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Log-density; log-probability of discrete columns. With ``likelihood="bound"`` at most
            the model's, in expectation over its internal noise.
        std : ndarray of shape (n_samples,)
            Standard error of each of them, in nats, estimated from differences between draws; it
            is rather too large than too small. NaN with ``likelihood="flow"`` and with few draws.
            Only with ``return_std=True``.

        Raises
        ------
        ValueError
            If X does not match the X that was fitted, y holds an unknown class, the basis mixes
            missing or given columns with others, or values are missing or given with
            ``likelihood="flow"``.

        Warns
        -----
        UserWarning
            If values are missing or given and the model was fitted with ``conditional_rate=0``: its
            network never saw partially observed rows, and the bound is loose.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=5, random_state=0).fit(X)
        >>> gen.score_samples(X[:5], given_columns=[0, 1]).shape
        (5,)
        """
        given = self._data().mask("given_columns", given_columns)
        scores = self.scoring(n_draws).blocks(self._data().blocks(X, y), given)
        return tuple(scores) if return_std else scores[0]

    @isolated
    def score_samples_leave_one_out(self, X, reference=None):
        """Log-likelihood of each row as if it were not in the reference set, see ``retrieval``.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        reference : array-like or DataFrame of shape (n_samples, n_features) or None, default=None
            The training rows that rows of X correspond to, where they differ from X.

        Returns
        -------
        ndarray of shape (n_samples,)
            As ``score_samples``, and equal to it without a reference set or with
            ``likelihood="flow"``.
        """
        data = self._data()
        rows = data.rows(X)
        return self.scoring().rows(rows, excluded=data.excluded_keys(rows, reference))

    @isolated
    def score_components(self, X, y=None, *, given_columns=None):
        """Log-likelihood of each row split by component, in nats and in the units of X.

        For an exact denoiser the total does not depend on the schedule. The split does: with a
        sequential schedule it is the chain rule, each group given those generated before it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        ndarray of shape (n_samples, n_components) or (n_samples, n_components + n_features)
            Sums to ``score_samples``. Where components are not data columns and the data are
            discrete, the reconstruction of each column follows the components. Where they are, and
            X has categories or point masses, there is one entry for each column, in their order.
            Given and missing entries have 0.

        Raises
        ------
        ValueError
            If ``likelihood="flow"``, whose density is not a sum over components; and as
            ``score_samples`` does.
        """
        rows = self._data().rows(X, y)
        return self.scoring().components(rows, self._data().mask("given_columns", given_columns))

    @isolated
    def score_columns(self, X, y=None, *, groups=None):
        """Log-likelihood of each entry given all others of its row, in nats and in the units of X.

        It shows which column of a row, or which group of columns, is unusual. It takes as long as
        one call of ``score_samples`` for each column or group.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            NaN as in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        groups : list or dict of columns as of ``given_columns``, or None, default=None
            Groups of columns, which may overlap; each is scored given all columns outside it. None
            is every column by itself.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_groups)
            0 where entries are missing. The sum over columns is not the log-likelihood of the row.

        Raises
        ------
        ValueError
            If a group is empty, or the basis mixes a group with other columns; and as
            ``score_samples`` does.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator
        >>> X = load_iris().data
        >>> gen = GUDGenerator(conditional_rate=0.3, max_iter=5, random_state=0).fit(X)
        >>> gen.score_columns(X[:5]).shape
        (5, 4)
        >>> gen.score_columns(X[:5], groups={"sepal": [0, 1], "petal": [2, 3]}).shape
        (5, 2)
        """
        rows = self._data().rows(X, y)
        masks = self._data().groups(groups)
        return self.scoring().groups(rows, masks)

    @isolated
    def score_columns_leave_one_out(self, X, *, groups=None, reference=None):
        """Log-likelihood of each entry given all others, as if rows were not in the reference set.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        groups : list or dict of columns, or None, default=None
            As in ``score_columns``.
        reference : array-like or DataFrame of shape (n_samples, n_features) or None, default=None
            As in ``score_samples_leave_one_out``.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_groups)
            As ``score_columns``.
        """
        data = self._data()
        rows, masks = data.rows(X), data.groups(groups)
        return self.scoring().groups(rows, masks, data.excluded_keys(rows, reference))

    def score(self, X, y=None, *, given_columns=None):
        """Mean log-likelihood of the rows, in nats and in the units of X.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``; ignored without ``class_conditional``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        float
        """
        return float(self.score_samples(X, y, given_columns=given_columns).mean())

    @isolated
    def bits_per_dim(self, X, y=None, *, given_columns=None):
        """Mean negative log-likelihood in bits per entry that is scored.

        Constant columns count as scored; given and missing entries do not.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            As in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        given_columns : list of str, list of int, bool array or None, default=None
            As in ``score_samples``.

        Returns
        -------
        float
            0 where nothing is scored.
        """
        rows, given = self._data().rows(X, y), self._data().mask("given_columns", given_columns)
        scoring = self.scoring()
        total = -scoring.rows(rows, given).sum()
        return float(total / (max(scoring.n_scored(rows, given), 1) * math.log(2)))

    @isolated
    def sweep(
        self, X, param_grid, y=None, *, n_draws="coarse", X_train=None, y_train=None, adapt_iter=0,
        refine=False, refine_iter="auto",
    ):  # fmt: skip
        """Score one fit under every schedule of a grid.

        Fit with ``Training(schedule_family=...)``, which trains one network for all schedules of a
        family; see :class:`gudlearn.Training`. The estimator itself does not change.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            Rows that were not used in ``fit``.
        param_grid : dict of str to sequence, or list of these
            Values by parameter, ``"schedule"`` or ``"schedule__..."``, such as
            ``{"schedule__softness": [0.1, 1.0]}``; all combinations are scored. What is not listed
            is as in ``schedule_``. Parameters that no kind of schedule has together, such as
            ``schedule__softness`` and ``schedule__window``, make one grid for each kind.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        n_draws : int or {"auto", "coarse"}, default="coarse"
            Draws of noise for each row and schedule, as the parameter of the estimator.
        X_train, y_train : as in ``fit``, default=None
            The rows that were fitted, for further training: a generator does not keep them.
        adapt_iter : int or "auto", default=0
            Epochs for which the network is trained for each schedule by itself before it is
            scored. One network for all of a family has nearly the same bound under all of them;
            a little training each tells better which one a fit of its own would like. "auto" is
            4 % of ``n_iter_``.
        refine : bool, default=False
            Whether to fit the best schedule further, as with ``warm_start``.
        refine_iter : int or "auto", default="auto"
            Epochs of that fit; "auto" is three quarters of ``n_iter_``.

        Returns
        -------
        Sweep
            ``results``, a DataFrame with one row for each schedule: its parameters, the bound in
            bits per dimension with its standard error, the difference to the best with that of the
            paired rows, spread over paths, rank. ``best_index``, ``best_params``, and
            ``best_estimator``, a fitted generator. See :class:`gudlearn.Sweep`.

        Raises
        ------
        ValueError
            If a schedule is outside the family for which the network was trained, which without a
            family is ``schedule_`` alone; if the grid names another parameter than those of a
            schedule; if there is further training without X_train; and as ``score_samples`` does.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gudlearn import GUDGenerator, Training
        >>> X = load_iris().data
        >>> training = Training(schedule_family={"softness": (0.1, 1.0)})
        >>> gen = GUDGenerator(training=training, max_iter=5, random_state=0).fit(X[::2])
        >>> sweep = gen.sweep(X[1::2], {"schedule__softness": [0.1, 0.3, 1.0]})
        >>> sweep.results[["schedule__softness", "bits_per_dim", "rank"]].shape
        (3, 3)
        """
        data = self._data()
        train = None if X_train is None else data.rows(X_train, y_train)
        further = Further(self, X_train, y_train, train, adapt_iter, refine, refine_iter)
        return run_sweep(self, data.rows(X, y), param_grid, n_draws, further)

    @isolated
    def diagnose(
        self, X, y=None, *, X_train=None, y_train=None, n_rows=200, random_state=None
    ):  # fmt: skip
        """Judge a fit by rows that it has not seen, and say what to try next.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features), or images
            At least 20 rows that were not used in ``fit``. NaN as in ``score_samples``.
        y : array-like of shape (n_samples,), one label or None, default=None
            As in ``score_samples``.
        X_train, y_train : as in ``fit``, default=None
            The rows that were fitted, in the same order. Test rows are then compared with those of
            them that were held out and those that were trained on; without, with the scores of
            training and with rows that the model draws.
        n_rows : int or None, default=200
            Number of rows to look at, drawn at random; at most 64 images. None is all of them.
        random_state : int, RandomState instance or None, default=None
            Controls which rows and columns are looked at, and draws. None uses the estimator's.

        Returns
        -------
        Diagnosis
            ``findings`` in plain sentences, the most expensive first, each with which parameter to
            set to what next; the calibration of ``columns``; the least likely ``rows``; ``bound``
            and ``flow``; ``path_spread``; ``training``; ``notes`` on what was left out. Shows
            itself as text and HTML; :class:`gudlearn.DiagnosisDisplay` draws it.

        Raises
        ------
        ValueError
            If there are fewer than 20 rows or n_rows is less, X_train has too few rows, and as
            ``score_samples`` does.

        Notes
        -----
        A column is judged by its probability integral transform (PIT), which is uniform if
        conditional distributions are calibrated: given all other columns, if the network was
        trained on partially observed rows and the basis does not mix columns; else by itself,
        beside draws of the model. At most 12 columns, drawn at random, are judged, and of a fit
        with ``targets`` these. A column is reported if a calibrated model would give such a table
        in one of a hundred diagnoses.

        Examples
        --------
        >>> import numpy as np
        >>> import pandas as pd
        >>> from gudlearn import GUDGenerator
        >>> draw = np.random.default_rng(0)
        >>> X = pd.DataFrame({"kind": draw.choice(list("ab"), 90), "size": draw.normal(size=90)})
        >>> gen = GUDGenerator(max_iter=0, random_state=0).fit(X[:60])
        >>> diagnosis = gen.diagnose(X[60:])
        >>> diagnosis.findings[-1]
        'The network is untrained: the model is the closed-form start. Try max_iter=100.'
        >>> diagnosis.columns["given"].tolist()
        ['the others', 'the others']
        """
        data, index = self._data(), index_of(X)
        rows = data.rows(X, y)
        train = None if X_train is None else data.rows(X_train, y_train)
        seed = self._random_state(random_state)
        return run_diagnosis(self, rows, train, n_rows, seed, index)

    @isolated
    def log_snr(self, t):
        """Effective log-SNR of each component that diffuses, at given times.

        Parameters
        ----------
        t : array-like of shape (n_times,)
            Times in [0, 1]; 0 is data, 1 is noise.

        Returns
        -------
        ndarray of shape (n_times, n_components)
        """
        check_is_fitted(self)
        return self.state_.log_snr(t)

    # Extension

    @isolated
    def extend(
        self, X_start, n_steps, *, context=None, active=None, steps_per_column=16, side="right",
        return_log_likelihood=False, random_state=None,
    ):  # fmt: skip
        """Continue series, strips or fields beyond the width of the training data.

        Parameters
        ----------
        X_start : array-like of shape (n_rows, width), or images (n_rows, height, width[, channels])
            The observed part; any width of at least ``context``, and the height and channels of
            the X that was fitted. It may be longer: only the nearest ``context`` columns count.
        n_steps : int
            Number of columns to add.
        context : int or None, default=None
            Number of earlier columns that each new column is conditioned on; None is half of the
            fitted width.
        active : int or None, default=None
            Number of columns that are denoised at the same time, each somewhat later than the one
            before it; 1 denoises one column after another. None is the fitted width minus
            ``context``.
        steps_per_column : int, default=16
            Steps of the sampler for each new column; more are taken if the schedule keeps columns
            inactive for part of the time.
        side : {"right", "left"}, default="right"
            Side on which columns are added.
        return_log_likelihood : bool, default=False
            Whether to return the log-likelihood of each new column as well.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's. For one seed the first k of n columns are the k columns.

        Returns
        -------
        X : ndarray of shape (n_rows, width + n_steps), or \
                (n_rows, height, width + n_steps[, channels])
            X_start and the new columns, in the dtype that was fitted.
        log_likelihood : ndarray of shape (n_rows, n_steps)
            log p(column | ``context`` columns before it) of each new column in the order in which
            they were added, in nats: the bound. Only with ``return_log_likelihood=True``.

        Raises
        ------
        ValueError
            If the strip is too narrow for context and active columns, the basis mixes columns or
            rotates them differently, a column is constant, the schedule differs between columns
            that are active at once, X was fitted as flat images (``shape``), X has categories or
            point masses, a column is mapped to a normal one (``Schema(gaussianize=True)``), or
            X_start has another shape.
        TypeError
            If X_start is not numeric.

        Warns
        -----
        UserWarning
            If the model was fitted with ``conditional_rate=0``: its network never saw observed
            columns.

        Notes
        -----
        Train on random crops of one width, with a ``conditional_rate`` above 0, and with
        ``schema=Schema(gaussianize=False)``: values move from column to column. Labels are not
        used. Exact, up to the network's error, for a stationary distribution in which a column
        depends on the ``context`` columns before it.

        Examples
        --------
        >>> import numpy as np
        >>> from gudlearn import GUDGenerator, Schema
        >>> wave = np.sin(np.arange(400) / 3) + 0.1 * np.random.default_rng(0).normal(size=400)
        >>> crops = np.lib.stride_tricks.sliding_window_view(wave, 8)
        >>> schema = Schema(gaussianize=False)
        >>> gen = GUDGenerator(schema=schema, conditional_rate=0.5, max_iter=2, random_state=0)
        >>> gen = gen.fit(crops)
        >>> gen.extend(wave[None, -8:], 6).shape
        (1, 14)
        """
        extension = self._extension(context, active, steps_per_column, side)
        check_n_samples(n_steps, "n_steps")
        scoring = self.scoring() if return_log_likelihood else None
        return extension.extend(X_start, n_steps, self._random_state(random_state), scoring)

    @isolated
    def iter_extend(
        self, X_start, *, context=None, active=None, steps_per_column=16, side="right",
        random_state=None,
    ):  # fmt: skip
        """Continue endlessly as ``extend`` does, in constant memory and without scores.

        Parameters
        ----------
        X_start, context, active, steps_per_column, side, random_state
            As in ``extend``.

        Returns
        -------
        iterator of ndarray of shape (n_rows, 1), or (n_rows, height, 1[, channels])
            One new column after another.
        """
        extension = self._extension(context, active, steps_per_column, side)
        columns, _ = extension.columns(X_start, None, self._random_state(random_state))
        return isolated_iterator(columns)

    def _extension(self, context, active, steps_per_column, side):
        sampling = self.sampling()
        return Extension(
            self.state_, sampling.fitted, sampling.sampler, column_names(self),
            context=context, active=active, steps_per_column=steps_per_column, side=side,
        )  # fmt: skip

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.categorical = tags.input_tags.string = True
        named = isinstance(self.basis, str) and self.basis in ("auto", "identity", "block")
        tags.input_tags.allow_nan = named or isinstance(self.basis, IdentityBasis | BlockBasis)
        tags.target_tags.required = self.class_conditional
        return tags
