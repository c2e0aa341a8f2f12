"""How good the untrained model of a table is, and what its start is worth after training.

    python preconditioning.py --data DIR
    python preconditioning.py --data DIR --seconds 60 --sets digits california magic

Test bits/dim of `preconditioning="marginal"`, `"joint"` and `"mixture"`: untrained, or after the
same training time. `small_density` has 160 training rows of breast cancer.
"""

from __future__ import annotations

import argparse

import torch
from _data import EXTRA_SETS, SETS, load, split

from gudlearn import GUDGenerator

KINDS = ("marginal", "joint", "mixture")


def main():
    """Measure every set and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--sets", nargs="+", choices=SETS + EXTRA_SETS, default=[*SETS, "small"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=0, help="of training; 0: untrained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=1500, help="test rows at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        dataset = load(name, options.data)
        for seed in options.seeds:
            X, X_test = split(dataset, seed)
            for kind in options.kinds:
                gen = GUDGenerator(
                    bin_width=dataset.bin_width,
                    preconditioning=kind,
                    random_state=seed,
                    max_time=options.seconds or None,
                    max_iter="auto" if options.seconds else 0,
                ).fit(X)
                print(
                    f"{name} seed {seed} {kind}: "
                    f"{gen.bits_per_dim(X_test[: options.rows]):.4f} bits/dim, "
                    f"{gen.n_iter_} epochs",
                    flush=True,
                )


if __name__ == "__main__":
    main()
