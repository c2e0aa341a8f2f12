"""A fitted GUDGenerator as a model on its device, built when it is needed and kept beside it."""

import operator
import weakref
from numbers import Integral

import numpy as np

from gudlearn import _fitting
from gudlearn.model.fitted import Engine

# Models on their devices, by estimator: nothing of them is pickled, cloned or compared.
_MODELS = weakref.WeakKeyDictionary()
# The density of times that favours none.
_EVENLY = np.ones(32)


class Built:
    """The private half of an estimator that turns what was learned into what computes."""

    def _engine(self):
        key = self.random_state if isinstance(self.random_state, Integral) else 0
        return Engine(self._encoding, self._model(), int(key))

    def _model(self):
        """The model on its device, rebuilt when what it was built from is no longer in place."""
        device = _fitting.resolve_device(self.device)
        path = _fitting.build_path(self._encoding, self.schedule_)
        parts = (self.weights_, self._time_weights(path), self._encoding)
        model, known = _MODELS.get(self, (None, ()))
        same = len(known) == len(parts) and all(map(operator.is_, known, parts))
        if not same or model.device != device:
            model = _fitting.build_model(
                self._encoding, self.network_, *parts[:2], self._n_classes, device
            )
            _MODELS[self] = model, parts
        # Put in place each time: the parameters of a schedule may be set after fit.
        model.follow(path)
        model.autocast = (
            _fitting.autocast_type(self.precision, device) if model.sees_images else None
        )
        return model

    def _time_weights(self, path):
        """The density of times if this is the path it was measured on, else an even one."""
        if self._measured_on is None or path is None:
            return _EVENLY
        same = np.allclose(_fitting.levels_of(path), self._measured_on, rtol=0, atol=1e-3)
        return self.time_weights_ if same else _EVENLY
