"""Generative models of other packages in the form of the contract: a few lines each.

An adapter imports its package in ``fit``, gives the model the rows it asks for, and returns rows
from ``sample``. It adds nothing that the model lacks: one without seeds cannot be seeded.
"""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_array, check_is_fitted, validate_data


class FromZuko(DensityMixin, BaseEstimator):
    """A normalising flow of zuko, trained by Adam on standardised rows."""

    def __init__(self, name="NSF", steps=100, random_state=None):
        self.name = name
        self.steps = steps
        self.random_state = random_state

    def fit(self, X, y=None):
        """Maximise the mean log-density."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        self.dtype_, self.scaler_ = X.dtype, StandardScaler().fit(X)
        rows = torch.as_tensor(self.scaler_.transform(X), dtype=torch.float32)
        flows = importlib.import_module("zuko.flows")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state or 0)
            self.flow_ = getattr(flows, self.name)(
                X.shape[1], transforms=2, hidden_features=(32, 32)
            )
            optimizer = torch.optim.Adam(self.flow_.parameters(), lr=3e-3)
            for _ in range(self.steps):
                loss = -self.flow_().log_prob(rows).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return self

    def sample(self, n_samples=1, random_state=None):
        """Draw rows."""
        check_is_fitted(self)
        seed = self.random_state if random_state is None else random_state
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed or 0)
            rows = self.flow_().sample((n_samples,)).double().numpy()
        # inverse_transform would refuse no rows, as the flow does not.
        return (rows * self.scaler_.scale_ + self.scaler_.mean_).astype(self.dtype_)

    def score_samples(self, X):
        """Log-density of each row."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        rows = torch.as_tensor(self.scaler_.transform(X), dtype=torch.float32)
        with torch.no_grad():
            return self.flow_().log_prob(rows).double().numpy() - np.log(self.scaler_.scale_).sum()

    def score(self, X, y=None):
        """Mean log-density."""
        return float(self.score_samples(X).mean())


class _OfFrames(BaseEstimator):
    """Arrays become frames for the model, and samples arrays again."""

    def fit(self, X, y=None):
        """Fit the model to a frame."""
        validate_data(self, X, skip_check_array=True)
        self.is_frame_ = isinstance(X, pd.DataFrame)
        frame = X
        if not self.is_frame_:
            # A frame has two axes; the model itself judges what is in them.
            X = check_array(X, dtype=None, ensure_all_finite=False, ensure_min_samples=0)
            frame = pd.DataFrame(X).add_prefix("x")
        self.columns_ = list(frame.columns)
        self.model_ = self.fit_frame(frame)
        return self

    def sample(self, n_samples=1):
        """Draw rows."""
        check_is_fitted(self)
        rows = self.draw(n_samples)
        rows = rows[[name for name in self.columns_ if name in rows]]
        if self.is_frame_:
            return rows
        # Columns of pandas' own dtypes hold pandas.NA, which no array of numbers does.
        nullable = any(isinstance(kind, pd.api.extensions.ExtensionDtype) for kind in rows.dtypes)
        return rows.to_numpy(float, na_value=np.nan) if nullable else rows.to_numpy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


class FromSDV(_OfFrames):
    """A synthesizer of the Synthetic Data Vault.

    It has a seed that nobody can choose: each fit and ``reset_sampling`` go back to it. Some
    synthesizers refuse the dtype category and ask for object.
    """

    def __init__(self, name="GaussianCopulaSynthesizer", parameters=None, as_object=False):
        self.name = name
        self.parameters = parameters
        self.as_object = as_object

    def fit_frame(self, frame):
        """Build the synthesizer from the metadata it detects, and fit it."""
        categories = frame.select_dtypes("category") if self.as_object else frame.iloc[:, :0]
        self.dtypes_ = categories.dtypes.to_dict()
        frame = frame.astype(dict.fromkeys(self.dtypes_, object))
        kind = getattr(importlib.import_module("sdv.single_table"), self.name)
        metadata = importlib.import_module("sdv.metadata").Metadata.detect_from_dataframe(frame)
        model = kind(metadata, **(self.parameters or {}))
        model.fit(frame)
        return model

    def draw(self, n_samples):
        """A frame of rows, the first of the model's only stream."""
        self.model_.reset_sampling()
        return self.model_.sample(num_rows=n_samples).astype(self.dtypes_)


class FromTabularARGN(_OfFrames):
    """TabularARGN of mostlyai-engine; its seed is that of all global generators."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit_frame(self, frame):
        """Train until the model stops by itself."""
        engine = importlib.import_module("mostlyai.engine")
        return engine.TabularARGN(random_state=self.random_state, verbose=0).fit(frame)

    def draw(self, n_samples):
        """A frame of rows."""
        importlib.import_module("mostlyai.engine").set_random_state(self.random_state)
        return self.model_.sample(n_samples=n_samples)


class FromForestDiffusion(BaseEstimator):
    """ForestDiffusion, a flow whose velocity is boosted trees; its sample takes no seed."""

    def __init__(self, n_t=10, duplicate_K=20, n_estimators=30, random_state=None):
        self.n_t = n_t
        self.duplicate_K = duplicate_K
        self.n_estimators = n_estimators
        self.random_state = random_state

    def fit(self, X, y=None):
        """Train the trees of each noise level."""
        # The model takes missing values.
        X = validate_data(self, X, dtype="numeric", ensure_all_finite="allow-nan")
        kind = importlib.import_module("ForestDiffusion").ForestDiffusionModel
        self.model_ = kind(
            X, n_t=self.n_t, duplicate_K=self.duplicate_K, n_estimators=self.n_estimators,
            n_jobs=1, seed=self.random_state or 0,
        )  # fmt: skip
        return self

    def sample(self, n_samples=1):
        """Draw rows."""
        check_is_fitted(self)
        return self.model_.generate(batch_size=n_samples)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
