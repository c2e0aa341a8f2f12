"""What estimators around a generator have in common."""

from sklearn.base import clone

from gudlearn._atomic import unchanged_on_error
from gudlearn.generator import GUDGenerator


class WrapsGenerator:
    """The half of an estimator that holds a generator, or None for the default one."""

    # An attribute that a generator must have, and what is said of one without it.
    _NEEDS = None

    def set_params(self, **params):
        """Set parameters of the estimator and of its generator.

        Where ``generator`` is None and one of its parameters is given, it becomes the default one
        first.

        Parameters
        ----------
        **params : dict

        Returns
        -------
        self : object
        """
        nested = any(name.startswith("generator__") for name in params)
        if nested and params.get("generator", self.generator) is None:
            params = {**params, "generator": self._default_generator()}
        with unchanged_on_error(self):
            return super().set_params(**params)

    def _default_generator(self):
        return GUDGenerator()

    def _new_generator(self):
        """The generator that is to be fitted, with the random state of this estimator."""
        generator = self._default_generator() if self.generator is None else clone(self.generator)
        if self._NEEDS is not None and not hasattr(generator, self._NEEDS[0]):
            raise TypeError(
                f"generator={generator!r} {self._NEEDS[1]}. Pass a GUDGenerator, or None."
            )
        if self.random_state is not None:
            # Of a pipeline those of its steps.
            names = generator.get_params()
            seeds = [name for name in names if name.split("__")[-1] == "random_state"]
            generator.set_params(**dict.fromkeys(seeds, self.random_state))
        return generator
