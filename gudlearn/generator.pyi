from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, overload

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin

from gudlearn._specs import NamedSpecs
from gudlearn._typing import Auto, Columns, Data, Floats, Given, Integers, RandomState, Rows
from gudlearn.bases import Basis
from gudlearn.data.schema import Schema
from gudlearn.diagnosis.result import Diagnosis
from gudlearn.execution import Training
from gudlearn.networks import MLP, ImageNetwork
from gudlearn.samplers import Sampler
from gudlearn.schedules import Schedule
from gudlearn.training.sweep import Sweep

class GUDGenerator(NamedSpecs, CallbackSupportMixin, DensityMixin, BaseEstimator):
    state_: Any
    @property
    def basis_(self) -> Basis: ...
    @property
    def schedule_(self) -> Schedule: ...
    @schedule_.setter
    def schedule_(self, schedule: Schedule) -> None: ...
    @property
    def network_(self) -> Any: ...
    @property
    def schema_(self) -> Any: ...
    @property
    def sample_shape_(self) -> tuple[int, ...]: ...
    @property
    def bin_width_(self) -> Floats | None: ...
    @property
    def conditional_rate_(self) -> float: ...
    @property
    def classes_(self) -> Any: ...
    @property
    def class_prior_(self) -> Floats | None: ...
    @property
    def weights_(self) -> Mapping[str, Any]: ...
    @property
    def time_weights_(self) -> Any: ...
    @property
    def n_parameters_(self) -> int: ...
    @property
    def n_iter_(self) -> int: ...
    @property
    def loss_curve_(self) -> list[float]: ...
    @property
    def validation_scores_(self) -> list[float]: ...
    @property
    def validation_iters_(self) -> list[int]: ...
    @property
    def validation_index_(self) -> Integers | None: ...
    @property
    def best_validation_score_(self) -> float | None: ...
    def __init__(
        self,
        basis: Literal["auto", "identity", "pca", "fourier", "wavelet", "block"] | Basis = "auto",
        schedule: Literal["auto", "linear", "cosine", "vp", "soft", "sequential"]
        | Schedule = "auto",
        network: Literal["auto", "mlp", "unet", "transformer"] | MLP | ImageNetwork | Any = "auto",
        sampler: Literal["auto", "dpm-solver", "ddim", "ancestral", "heun", "euler-maruyama"]
        | Sampler = "auto",
        *,
        schema: Auto | Schema = "auto",
        training: Auto | Training = "auto",
        shape: Sequence[int] | None = None,
        bin_width: ArrayLike | None = "auto",
        bin_range: ArrayLike | None = None,
        likelihood: Literal["bound", "flow"] = "bound",
        n_draws: int | Literal["auto", "coarse"] = "auto",
        preconditioning: Literal["auto", "mixture", "joint", "marginal", "gaussian"] = "auto",
        retrieval: int | Auto = 0,
        loss_weighting: Literal["likelihood", "uniform"] = "likelihood",
        class_conditional: bool = False,
        random_flips: bool = False,
        conditional_rate: float | Auto = "auto",
        targets: Columns | None = None,
        conditioning: Literal["auto", "exact", "posterior", "repaint"] = "auto",
        max_iter: int | Auto = "auto",
        max_time: float | None = None,
        batch_size: int | Auto = "auto",
        accumulation_steps: int = 1,
        learning_rate_init: float | Auto = "auto",
        optimizer: Literal["muon", "adamw"] = "muon",
        weight_decay: float | Auto = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        device: str = "auto",
        precision: Literal["auto", "float32", "bfloat16", "fp32", "bf16"] = "auto",
        compile: bool = False,
        verbose: int = 0,
        random_state: RandomState = None,
    ) -> None: ...
    def fit(self, X: Data, y: ArrayLike | None = None) -> Self: ...
    def partial_fit(self, X: Data, y: ArrayLike | None = None) -> Self: ...
    def fitted_model(self, dtype: Any = None) -> Any: ...
    def sampling(self) -> Any: ...
    def prediction(self, column: str | int) -> Any: ...
    def scoring(self, n_draws: int | str | None = None) -> Any: ...
    @property
    def uses_reference_set(self) -> bool: ...
    @overload
    def sample(
        self,
        n_samples: int = 1,
        y: ArrayLike | Iterable[Any] | None = None,
        *,
        given: Given | None = None,
        where: Mapping[Any, Any] | None = None,
        observation: tuple[Any, Any, Any] | None = None,
        guidance: float = 1.0,
        return_y: Literal[False] = False,
        random_state: RandomState = None,
    ) -> Rows: ...
    @overload
    def sample(
        self,
        n_samples: int = 1,
        y: ArrayLike | Iterable[Any] | None = None,
        *,
        given: Given | None = None,
        where: Mapping[Any, Any] | None = None,
        observation: tuple[Any, Any, Any] | None = None,
        guidance: float = 1.0,
        return_y: Literal[True],
        random_state: RandomState = None,
    ) -> tuple[Rows, Any]: ...
    def iter_sample(
        self, n_samples: int, *, block_size: int = 10_000, random_state: RandomState = None
    ) -> Iterator[Rows]: ...
    def sample_trajectory(
        self,
        n_samples: int = 1,
        n_states: int = 9,
        y: ArrayLike | Iterable[Any] | None = None,
        *,
        guidance: float = 1.0,
        random_state: RandomState = None,
    ) -> Any: ...
    def conditioning_method(self, mask: ArrayLike) -> str: ...
    def conditional_mean(
        self, X: Given, *, n_samples: int = 100, random_state: RandomState = None
    ) -> Rows: ...
    def conditional_quantile(
        self, X: Given, q: ArrayLike, *, n_samples: int = 100, random_state: RandomState = None
    ) -> Rows: ...
    def conditional_proba(
        self,
        X: Given,
        column: str | int,
        *,
        n_samples: int = 100,
        random_state: RandomState = None,
    ) -> Rows: ...
    @overload
    def score_samples(
        self,
        X: Data,
        y: ArrayLike | None = None,
        *,
        given_columns: Columns | None = None,
        n_draws: int | Literal["auto", "coarse"] | None = None,
        return_std: Literal[False] = False,
    ) -> Floats: ...
    @overload
    def score_samples(
        self,
        X: Data,
        y: ArrayLike | None = None,
        *,
        given_columns: Columns | None = None,
        n_draws: int | Literal["auto", "coarse"] | None = None,
        return_std: Literal[True],
    ) -> tuple[Floats, Floats]: ...
    def score_samples_leave_one_out(
        self, X: ArrayLike, reference: ArrayLike | None = None
    ) -> Floats: ...
    def score_components(
        self, X: ArrayLike, y: ArrayLike | None = None, *, given_columns: Columns | None = None
    ) -> Floats: ...
    def score_columns(
        self, X: ArrayLike, y: ArrayLike | None = None, *, groups: Iterable[Any] | None = None
    ) -> Any: ...
    def score_columns_leave_one_out(
        self,
        X: ArrayLike,
        *,
        groups: Iterable[Any] | None = None,
        reference: ArrayLike | None = None,
    ) -> Any: ...
    def score(
        self, X: Data, y: ArrayLike | None = None, *, given_columns: Columns | None = None
    ) -> float: ...
    def bits_per_dim(
        self, X: Data, y: ArrayLike | None = None, *, given_columns: Columns | None = None
    ) -> float: ...
    def sweep(
        self,
        X: ArrayLike,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        y: ArrayLike | None = None,
        *,
        n_draws: int | Literal["auto", "coarse"] = "coarse",
        X_train: ArrayLike | None = None,
        y_train: ArrayLike | None = None,
        adapt_iter: int = 0,
        refine: bool = False,
        refine_iter: int | Auto = "auto",
    ) -> Sweep: ...
    def diagnose(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        X_train: ArrayLike | None = None,
        y_train: ArrayLike | None = None,
        n_rows: int = 200,
        random_state: RandomState = None,
    ) -> Diagnosis: ...
    def log_snr(self, t: ArrayLike) -> Floats: ...
    @overload
    def extend(
        self,
        X_start: ArrayLike,
        n_steps: int,
        *,
        context: int | None = None,
        active: int | None = None,
        steps_per_column: int = 16,
        side: Literal["right", "left"] = "right",
        return_log_likelihood: Literal[False] = False,
        random_state: RandomState = None,
    ) -> Rows: ...
    @overload
    def extend(
        self,
        X_start: ArrayLike,
        n_steps: int,
        *,
        context: int | None = None,
        active: int | None = None,
        steps_per_column: int = 16,
        side: Literal["right", "left"] = "right",
        return_log_likelihood: Literal[True],
        random_state: RandomState = None,
    ) -> tuple[Rows, Floats]: ...
    def iter_extend(
        self,
        X_start: ArrayLike,
        *,
        context: int | None = None,
        active: int | None = None,
        steps_per_column: int = 16,
        side: Literal["right", "left"] = "right",
        random_state: RandomState = None,
    ) -> Iterator[Rows]: ...
    def __sklearn_tags__(self) -> Any: ...
