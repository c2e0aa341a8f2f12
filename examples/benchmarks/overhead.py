"""The overhead of gudlearn over the arithmetic that it needs: ratios and their targets.

    python overhead.py                    # digits, and patches of a photograph; all parts
    python overhead.py --only import step

Times are medians over alternating blocks, so that a busy machine slows both sides equally.
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from gudlearn import DPMSolver, GUDGenerator
from gudlearn.data.rows import Rows
from gudlearn.diffusion.losses import nll_integrand
from gudlearn.model.component import ComponentModel
from gudlearn.training.loop import Budget, run_epochs
from gudlearn.training.optimizers import make_optimizers
from gudlearn.training.sources import rows_on_device
from gudlearn.training.trainer import Trainer


def seconds_of(work):
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours, bare, blocks):
    """Median seconds of two pieces of work in alternating order, and their median ratio."""
    times = np.empty((blocks, 2))
    for block in range(-1, blocks):  # block -1 warms up
        order = ((0, ours), (1, bare)) if block % 2 else ((1, bare), (0, ours))
        for column, work in order:
            seconds = seconds_of(work)
            if block >= 0:
                times[block, column] = seconds
    return *np.median(times, axis=0), np.median(times[:, 0] / times[:, 1])


def show(what, ours, bare, unit, ratio, target):
    """Print one line: both times, their ratio, the target."""
    verdict = "reached" if ratio <= target else "MISSED"
    print(
        f"{what}: {ours:.2f} {unit} against {bare:.2f} {unit}, "
        f"ratio {ratio:.3f} (target: <= {target:.2f}, {verdict})",
        flush=True,
    )


def digits():
    """Training and test rows of the digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, test_size=0.2, random_state=0, stratify=y)[:2]


def spied(owner, method, work):
    """Call `work`; return the object whose method it called last, and the arguments."""
    calls = []
    original = getattr(owner, method)

    def spy(self, *args, **kwargs):
        calls[:] = [(self, args)]
        return original(self, *args, **kwargs)

    with mock.patch.object(owner, method, spy):
        work()
    return calls[0]


def training_step(options):
    """Compare a step of `fit` with a bare loop of the same denoiser, batch, loss and optimiser."""
    X, _ = digits()
    for name in ("adamw", "muon"):
        generator = GUDGenerator(bin_width=1.0, max_iter=1, optimizer=name, random_state=0)
        compare_steps(generator, X, 5, options)


def table_step(options):
    """Compare a step of `fit` on correlated continuous columns with a bare loop."""
    rng = np.random.default_rng(0)
    for n_rows, n_columns, n_epochs in ((1000, 10, 20), (15_000, 15, 1)):
        X = rng.normal(size=(n_rows, n_columns)) @ rng.normal(size=(n_columns, n_columns))
        compare_steps(GUDGenerator(max_iter=1, random_state=0), X, n_epochs, options, 1.05)


def image_step(options):
    """Compare a step of `fit` on images with a bare loop of the same network in bfloat16."""
    X = patches(640)
    for basis in ("auto", "pca"):
        generator = GUDGenerator(basis=basis, max_iter=1, precision="bf16", random_state=0)
        compare_steps(generator, X, 1, options)


def compare_steps(generator, X, n_epochs, options, target=1.15):
    """Compare epochs of `fit` with a bare loop of the same number of steps."""
    batch_size, seconds, bare_seconds, ratio = time_steps(generator, X, n_epochs, options.blocks)
    show(
        f"training step, batch {batch_size}, {generator.optimizer}, {generator.network_}, "
        f"{type(generator.basis_).__name__}",
        1e3 * seconds, 1e3 * bare_seconds, "ms", ratio, target,
    )  # fmt: skip


def time_steps(generator, X, n_epochs, blocks):
    """Rows of a step of `fit`, its seconds, those of a bare loop, and their median ratio."""
    trainer, (batch, *_) = spied(Trainer, "step", lambda: generator.fit(X))
    rows = rows_on_device(generator.state_, Rows.of(X.reshape(len(X), -1)), trainer, False)
    steps = n_epochs * len(trainer.batches(len(rows)))
    bare = bare_loop(trainer, batch.x0, steps, generator.optimizer)
    seconds, bare_seconds, ratio = compare(
        lambda: run_epochs(trainer, rows, Budget(n_epochs, None)), bare, blocks
    )
    return len(batch.x0), seconds / steps, bare_seconds / steps, ratio


def patches(n):
    """Patches of a photograph, 32 x 32 pixels of three colours."""
    photograph = load_sample_image("china.jpg")
    return extract_patches_2d(photograph, (32, 32), max_patches=n, random_state=0)


def bare_loop(trainer, x0, steps, optimizer):
    """Make the bare loop: noise, loss, gradient, step."""
    denoiser = copy.deepcopy(trainer.denoiser).train()
    parameters = list(denoiser.parameters())
    optimizers = make_optimizers(denoiser, parameters, optimizer, 1e-4, 0.01)
    # Rows share times as in training, or the bare loop would invert more matrices.
    n_same = 1 if denoiser.distribution is None else trainer.ROWS_PER_TIME
    t = (torch.arange(len(x0)) // n_same * n_same + 0.5) / len(x0)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    t, eps, kind = t.to(x0.device), eps.to(x0.device), x0.device.type

    def denoise(x, gamma):
        with torch.autocast(kind, trainer.autocast, enabled=trainer.autocast is not None):
            return denoiser(x, gamma)

    def loop():
        for _ in range(steps):
            loss = nll_integrand(denoise, trainer.path, x0, t, eps).sum(1).mean()
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            for part in optimizers:
                part.step()
        # A device that works beside Python has ended when a number is read.
        return float(loss.detach())

    return loop


def sampling(options):
    """Compare sample(1000) with the evaluations of the denoiser that it needs."""
    X, _ = digits()
    generator = GUDGenerator(bin_width=1.0, max_iter=1, random_state=0).fit(X)
    model, (keys, sampler, *_) = spied(ComponentModel, "sample", lambda: generator.sample(1000))
    evaluations = sampler.steps * sampler.build().evaluations
    width = len(model.active)
    for rows in (1000, len(keys)):
        x = torch.zeros(rows, width, dtype=model.dtype)
        gamma = model.path(torch.full((1,), 0.5, dtype=model.dtype)).expand_as(x)
        chunks = -(-1000 // rows)

        def bare(x=x, gamma=gamma, chunks=chunks):
            with torch.inference_mode():
                for _ in range(chunks * evaluations):
                    model.denoiser(x, gamma)

        ours, theirs, ratio = compare(lambda: generator.sample(1000), bare, options.blocks)
        show(
            f"sample(1000), {evaluations} evaluations, bare forward of {chunks} x {rows} rows",
            ours, theirs, "s", ratio, 1.10,
        )  # fmt: skip


def conditional_sampling(options):
    """Compare samples that are given half of each row with samples of all of it."""
    X, _ = digits()
    generator = GUDGenerator(bin_width=1.0, conditional_rate=0.3, max_iter=1, random_state=0)
    generator.fit(X)
    partial = np.where(np.arange(X.shape[1]) < X.shape[1] // 2, X[:1000], np.nan)
    ours, bare, ratio = compare(
        lambda: generator.sample(given=partial), lambda: generator.sample(1000), options.blocks
    )
    show("sample(given=) of 1000 rows against sample(1000)", ours, bare, "s", ratio, 1.15)


def image_sampling(options):
    """Compare 64 sampled images with the evaluations of the denoiser that they need."""
    sampler = DPMSolver(steps=20)
    generator = GUDGenerator(sampler=sampler, max_iter=1, precision="bf16", random_state=0)
    generator.fit(patches(640))
    model, _ = spied(ComponentModel, "sample", lambda: generator.sample(64))
    x = torch.zeros(64, len(model.active))
    gamma = model.path(torch.full((1,), 0.5)).expand_as(x)

    def bare():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for _ in range(20):
                model.denoiser(x, gamma)

    ours, theirs, ratio = compare(lambda: generator.sample(64), bare, options.blocks)
    show("64 images, 20 steps, bare forward of 64", ours, theirs, "s", ratio, 1.10)


def scoring_noise(options):
    """Print the standard deviation of the mean test score over keys of its internal noise."""
    X, X_test = digits()
    generator = GUDGenerator(bin_width=1.0, max_time=options.seconds, random_state=0).fit(X)
    scores = []
    for k in range(10):
        generator.set_params(random_state=k)  # the key of the noise inside scores
        scores.append(generator.score(X_test) / X_test.shape[1])
    std = np.std(scores, ddof=1)
    if std == 0:
        raise RuntimeError("Ten keys gave the same score: the noise did not change.")
    verdict = "reached" if std <= 0.0005 else "MISSED"
    print(
        f"mean score of {len(X_test)} digits over 10 keys: {np.mean(scores):.5f} nats/dim, "
        f"standard deviation {std:.6f} (target: <= 0.0005, {verdict}); "
        f"fitted {options.seconds:g} s"
    )


def import_time(options):
    """Compare `import gudlearn` with the imports that it needs, in new processes."""

    def process(statement):
        return lambda: subprocess.run([sys.executable, "-c", statement], check=True)

    ours, bare, ratio = compare(
        process("import gudlearn"), process("import torch, sklearn, pandas"), options.blocks
    )
    show("import gudlearn", ours, bare, "s", ratio, 1.15)


PARTS = {
    "step": training_step, "table-step": table_step, "sample": sampling, "noise": scoring_noise,
    "import": import_time, "image-step": image_step, "image-sample": image_sampling,
    "given": conditional_sampling,
}  # fmt: skip


def main():
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--blocks", type=int, default=15, help="repetitions of each side")
    parser.add_argument("--seconds", type=float, default=30, help="of the fit that is scored")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        for name in options.only:
            PARTS[name](options)


if __name__ == "__main__":
    main()
