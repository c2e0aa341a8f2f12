"""What fit needs around the loop: device, denoiser, trainer, and the rows that are held out."""

import numpy as np
import torch

from gudlearn._random import row_keys, torch_generator
from gudlearn._specs import resolve
from gudlearn.conditioning.random_masks import make_random_masks
from gudlearn.data.containers import n_observed_values
from gudlearn.data.images import make_image_network
from gudlearn.model.component import MOST_VALUES, Model
from gudlearn.networks import MLP, ImageNetwork, Transformer, UNet, build_network
from gudlearn.nn.denoiser import Denoiser
from gudlearn.preconditioning.kernels import BANDWIDTHS
from gudlearn.training.sources import is_image_network, without_holes
from gudlearn.training.trainer import Trainer, Validation, to_tensors

# From here on networks see no row often enough to learn it by heart.
_MANY_ROWS = 10_000


def resolve_device(name):
    """A torch.device from what the user passed.

    Raises
    ------
    ValueError
        If torch cannot use it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Torch may know a device that this machine or this build of torch has not.
        usable = device.type != "meta"
        # Scores are sums in float64, which not every kind of device has.
        torch.empty(0, device=device, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device={name!r} is not a device that torch can use here: {error}. Pass 'auto', "
            "'cpu' or 'cuda'."
        ) from error
    if not usable:
        raise ValueError("device='meta' holds no numbers. Pass 'auto', 'cpu' or 'cuda'.")
    return device


def autocast_type(precision, device):
    """Type of the hidden layers' arithmetic in training; None for float32."""
    if precision in ("float32", "fp32"):
        return None
    if precision in ("bfloat16", "bf16"):
        return torch.bfloat16
    if device.type == "cuda":
        # Older cards emulate it, slowly.
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else None
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else None


def resolve_network(network, n_rows, shape=None):
    """The network's specification for so many rows, images if there is a shape."""
    if isinstance(network, str) and network == "auto":
        network = "mlp" if shape is None else "unet"
    spec = resolve("network", network)
    if isinstance(spec, ImageNetwork) and shape is None:
        raise ValueError(
            f"network={spec!r} needs images, but X is a table. Pass X of shape (n, height, width[, "
            "channels]), or flat rows with shape=(height, width[, channels]), or network='mlp'."
        )
    size = getattr(spec, "sized", None)
    return spec if size is None else size(n_rows)


def check_network(spec, shape):
    """Raise where a network of ours cannot be built, for images of a shape if there is one."""
    if isinstance(spec, MLP | UNet | Transformer):
        spec._validate_params()
    if isinstance(spec, UNet | Transformer):
        with torch.device("meta"):
            spec.build(1, 1, spec.n_condition, shape[:2])


def new_network(encoding, spec, seed, n_classes):
    """An untrained network for the components that diffuse; None if there are none."""
    if not encoding.ends.active.any():
        return None
    # Layers draw their first weights from torch's global state, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        if isinstance(spec, ImageNetwork):
            return make_image_network(encoding, spec, n_classes)
        marginals, kernels = encoding.marginals(), encoding.kernels()
        n_channels = Denoiser.n_channels(marginals, encoding.law(), kernels)
        n_estimates = 0 if kernels is None else len(BANDWIDTHS)
        return build_network(spec, len(marginals.mean), n_channels, n_classes, n_estimates)


def build_denoiser(encoding, spec, weights, n_classes):
    """The denoiser with given weights; None if nothing diffuses."""
    network = new_network(encoding, spec, 0, n_classes)
    if network is None:
        return None
    network.load_state_dict(to_tensors(weights))
    known = encoding.marginals(), encoding.law(), encoding.kernels()
    return Denoiser(network, *known, encoding.missing_above())


def build_model(encoding, spec, weights, time_weights, n_classes, device):
    """The model on a device, without a path: images in float32, all else in float64."""
    denoiser = build_denoiser(encoding, spec, weights, n_classes)
    dtype = torch.float32 if is_image_network(denoiser) else torch.float64
    return _model(encoding, denoiser, time_weights, device, dtype, null=n_classes)


def model_in_training(encoding, trainer, n_classes):
    """The model of a trainer's averaged weights as they change, in training's arithmetic."""
    model = _model(
        encoding, trainer.averaged, np.ones(1), trainer.device, torch.float32,
        autocast=trainer.autocast, null=n_classes,
    )  # fmt: skip
    model.follow(trainer.path)
    return model


def _model(encoding, denoiser, time_weights, device, dtype, **others):
    return Model(
        denoiser,
        encoding.ends,
        encoding.observation(),
        torch.from_numpy(np.flatnonzero(encoding.binned)),
        time_weights,
        device,
        dtype,
        **others,
    )


def build_path(encoding, schedule):
    """The path of the components that diffuse; None if there are none."""
    if not encoding.ends.active.any():
        return None
    return schedule.build(encoding.components, encoding.end_points())


def levels_of(path):
    """Noise levels at some times, (9, D'): what tells one path from another."""
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    return path.to("cpu", torch.float64)(t).numpy().astype(np.float32)


def make_trainer(estimator, denoiser, path, n_rows, seed, device, encoding, conditional_rate):
    """A trainer by the estimator's parameters, for so many rows, some of which are held out."""
    n_train = n_rows - estimator._n_validation(n_rows)
    images = is_image_network(denoiser)
    weight_decay = estimator.weight_decay
    if weight_decay == "auto":
        weight_decay = float(np.clip(150 / n_train, 0.01, 0.1))
    batch_size = estimator.batch_size
    if batch_size == "auto":
        least, most = (32, 32) if images else (64, 1024)
        batch_size = int(np.clip(n_train // 4, min(n_train, least), most))
    learning_rate = estimator.learning_rate_init
    if learning_rate == "auto":
        learning_rate = 6e-3 if images else 4e-3
    return Trainer(
        denoiser.to(device, torch.float32),
        path.to(device, torch.float32),
        loss=estimator.loss_weighting,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=estimator.optimizer,
        weight_decay=weight_decay,
        autocast=autocast_type(estimator.precision, device),
        generator=torch_generator(seed, device),
        compiled=estimator.compile,
        n_parts=estimator.accumulation_steps,
        states=make_random_masks(encoding, conditional_rate, device),
        # Of few rows parts teach what the rows alone do not; of many their noise is what they cost.
        loss_normalization=1.0 if n_rows < _MANY_ROWS else 0.5,
    )


def hold_out(X, n_rows, seed):
    """Indices of about n_rows rows; equal rows are held out together where most are unique.

    A few copies would let the network see what it is judged by. Where rows take few values
    copies are the law itself, and without them a value would be missing from training.
    """
    if not n_rows:
        return np.arange(0)
    _, first, group = np.unique(row_keys(X).numpy(), return_index=True, return_inverse=True)
    # By first appearance, not by key: the same rows in other units are split the same way.
    group = np.argsort(np.argsort(first))[group]
    if 2 * (group.max() + 1) < len(X):
        group = np.arange(len(X))
    rank = np.random.default_rng(seed).permutation(group.max() + 1)[group]
    by_rank = np.argsort(rank, kind="stable")
    # The last group is taken whole: what is left of it would train on held-out rows.
    held_out = by_rank[rank[by_rank] <= rank[by_rank[n_rows - 1]]]
    return held_out if len(held_out) < len(X) else held_out[:0]


def loss_units(engine, X, loss_weighting):
    """Factor and offset that turn a training loss into minus a log-likelihood per dimension.

    The prior's term is left out: at the noisiest level it is below a thousandth of a nat.
    """
    if loss_weighting != "likelihood":
        return 1.0, 0.0
    fixed = engine.each_chunk(X, lambda rows: engine.fixed(rows).sum(1)).mean()
    n_columns = n_observed_values(X) / len(X)
    return len(engine.model.active) / X.shape[1], -float(fixed) / n_columns


def make_validation(engine, X, labels, seed):
    """Validation on rows X, or None if there are none."""
    if not len(X):
        return None
    z = []

    def log_likelihood(rows):
        components, encoded = engine.untrained(rows)
        z.append(encoded[:, engine.model.active].to(torch.float32))
        return components.sum(1)

    n_dimensions = n_observed_values(X) / len(X)
    constant = -engine.each_chunk(X, log_likelihood).mean() / n_dimensions
    images, n_active = engine.model.sees_images, max(len(engine.model.active), 1)
    _, missing = without_holes(engine.encoding, X, engine.model.device)
    return Validation(
        # The last chunk of images is filled up.
        torch.cat(z)[: len(X)],
        labels=None if labels is None else labels.to(engine.model.device),
        n_times=2 if images else int(np.clip(4096 // len(X), 4, 64)),
        constant=constant,
        n_dimensions=n_dimensions,
        seed=seed,
        missing=missing,
        self_index=engine.encoding.places(row_keys(X), engine.model.device),
        chunk=128 if images else max(1, min(4096, MOST_VALUES // n_active)),
    )
