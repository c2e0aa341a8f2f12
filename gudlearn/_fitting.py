"""What fit needs around the loop: device, denoiser, trainer, and the rows that are held out."""

import numpy as np
import torch

from gudlearn._random import row_keys, torch_generator
from gudlearn._resolve import resolve
from gudlearn._training import Trainer, Validation, to_tensors
from gudlearn.networks import MLP, build_network
from gudlearn.nn.denoiser import Denoiser


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
        usable = device.type != "meta" and torch.empty(0, device=device) is not None
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={name!r} is not a device that torch can use here: {error}. Pass 'auto', "
            "'cpu' or 'cuda'."
        ) from error
    if not usable:
        raise ValueError("device='meta' holds no numbers. Pass 'auto', 'cpu' or 'cuda'.")
    return device


def autocast_type(precision, device):
    """Type of the hidden layers' arithmetic in training; None for float32."""
    if precision == "float32":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else None


def resolve_network(network, n_rows):
    """The network's specification; a dropout of "auto" is larger the fewer rows there are."""
    spec = resolve("network", network)
    if isinstance(spec, MLP) and spec.dropout == "auto":
        dropout = min(0.2, 300 / n_rows)
        # Below this it costs more than it saves.
        spec.set_params(dropout=dropout if dropout > 0.03 else 0.0)
    return spec


def new_network(encoding, spec, seed):
    """An untrained network for the components that diffuse; None if there are none."""
    if not encoding.ends.active.any():
        return None
    marginals = encoding.marginals()
    # Layers draw their first weights from torch's global state, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return build_network(spec, len(marginals.mean), Denoiser.n_channels(marginals))


def build_denoiser(encoding, spec, weights):
    """The denoiser with given weights; None if nothing diffuses."""
    network = new_network(encoding, spec, 0)
    if network is None:
        return None
    network.load_state_dict(to_tensors(weights))
    return Denoiser(network, encoding.marginals())


def build_path(encoding, schedule):
    """The path of the components that diffuse; None if there are none."""
    if not encoding.ends.active.any():
        return None
    return schedule.build(encoding.components, encoding.end_points())


def make_trainer(estimator, denoiser, path, n_train, seed, device):
    """A trainer by the estimator's parameters."""
    weight_decay = estimator.weight_decay
    if weight_decay == "auto":
        weight_decay = float(np.clip(150 / n_train, 0.01, 0.1))
    batch_size = estimator.batch_size
    if batch_size == "auto":
        batch_size = int(np.clip(n_train // 4, min(n_train, 64), 1024))
    return Trainer(
        denoiser.to(device, torch.float32),
        path.to(device, torch.float32),
        loss=estimator.loss_weighting,
        batch_size=batch_size,
        learning_rate=estimator.learning_rate_init,
        optimizer=estimator.optimizer,
        weight_decay=weight_decay,
        autocast=autocast_type(estimator.precision, device),
        generator=torch_generator(seed, device),
        compiled=estimator.compile,
    )


def rows_on_device(encoding, X, device):
    """A function of a draw that gives the active components of rows X on the device."""
    active, keys = encoding.ends.active, row_keys(X)
    levels, _ = encoding.clip(encoding.bins.levels(X))

    def data(draw):
        z = encoding.encode(X, levels, keys, draw)[:, active]
        return torch.from_numpy(z).to(device, torch.float32)

    if encoding.dequantised.any():
        return data
    fixed = data(0)
    return lambda draw: fixed


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
    n_columns = X.shape[1]
    return len(engine.model.active) / n_columns, -float(fixed) / n_columns


def make_validation(engine, X, seed):
    """Validation on rows X, or None if there are none."""
    if not len(X):
        return None
    z = []

    def log_likelihood(rows):
        components, encoded = engine.untrained(rows)
        z.append(encoded[:, engine.model.active].to(torch.float32))
        return components.sum(1)

    constant = -engine.each_chunk(X, log_likelihood).mean() / X.shape[1]
    return Validation(
        torch.cat(z),
        n_times=int(np.clip(4096 // len(X), 4, 64)),
        constant=constant,
        n_dimensions=X.shape[1],
        seed=seed,
    )
