"""Draw the figures of the documentation into ``docs/_static``.

Run ``python docs/figures/make_figures.py`` for all figures, or add names to draw some of them:
``python docs/figures/make_figures.py bases softness``. It needs the extra ``plot`` and takes a few
minutes on two cores. Every fit has a seed and a number of epochs, no time limit, so the figures do
not depend on the speed of the machine.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images, make_moons
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split

from gudlearn import (
    DPMSolver,
    FourierBasis,
    GUDGenerator,
    GUDImputer,
    IdentityBasis,
    LossCurveDisplay,
    PCABasis,
    ScheduleDisplay,
    Schema,
    SequentialSchedule,
    SoftConditioningSchedule,
    SoftnessDisplay,
    UNet,
    WaveletBasis,
)

STATIC = Path(__file__).parents[1] / "_static"
GREY, ORANGE, BLUE = "#9aa5b1", "#d55e00", "#0072b2"
SIDE = 32


def save(figure, name):
    """Write a figure with few colours, which keeps the repository small."""
    path = STATIC / f"{name}.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def draw_landing(panels, colours, ink, page, name):
    """Rows of three frames, in the colours of a light or dark page."""
    style = {
        "figure.facecolor": page, "axes.facecolor": page, "savefig.facecolor": page,
        "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink, "axes.titlecolor": ink,
        "xtick.color": ink, "ytick.color": ink, "font.size": 11,
    }  # fmt: skip
    with plt.rc_context(style):
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", sharey=True)
        for ax, (title, rows) in zip(axes, panels.items(), strict=True):
            for colour, level, mark in zip(colours, ("0", "1"), "o^", strict=True):
                xy = rows.loc[rows["moon"] == level, ["x", "y"]].to_numpy()
                ax.plot(*xy.T, mark, color=colour, markersize=3, markeredgewidth=0)
            ax.set(title=title, xlabel="x", xlim=(-1.6, 2.6), ylim=(-0.9, 1.5))
            ax.spines[["top", "right"]].set_visible(False)
        behind = next(iter(panels.values()))[["x", "y"]].to_numpy()
        axes[2].plot(*behind.T, "o", color=GREY, alpha=0.35, markersize=2, zorder=0)
        axes[0].set_ylabel("y", rotation=0)
        for colour, level, x, y in zip(colours, "01", (-1.1, 2.1), (1.1, -0.8), strict=True):
            axes[0].text(x, y, f"moon {level}", color=colour, ha="center")
        save(figure, name)


def landing():
    """The figure of the first page, for light and dark pages, by the lines that stand there."""
    X, moon = make_moons(2000, noise=0.08, random_state=0)
    table = pd.DataFrame(X, columns=["x", "y"]).assign(moon=moon.astype(str))
    generator = GUDGenerator(conditional_rate=0.3, random_state=0).fit(table[:1000])
    asked = generator.sample(200, given=pd.DataFrame({"x": [0.0, 0.5, 1.0]}), random_state=0)
    panels = {
        "1,000 rows, held out": table[1000:],
        "1,000 rows, sampled": generator.sample(1000),
        "asked: rows with x = 0, 0.5, 1": asked,
    }
    draw_landing(panels, ["#0072b2", "#b84a00"], "#222832", "#ffffff", "landing_light")
    draw_landing(panels, ["#56b4e9", "#e69f00"], "#ced6dd", "#14181e", "landing_dark")


def patches(n=3000):
    """Grey patches of two photographs as flat rows, and one patch to show."""
    photographs = [image.mean(2)[::2, ::2] / 255 for image in load_sample_images().images]
    rows = [
        extract_patches_2d(image, (SIDE, SIDE), max_patches=n // 2, random_state=k)
        for k, image in enumerate(photographs)
    ]
    shown = photographs[0][20 : 20 + SIDE, 87 : 87 + SIDE]
    return np.concatenate(rows).reshape(-1, SIDE * SIDE), shown.ravel()[None]


def untrained(basis, rows):
    """A generator whose basis is fitted to rows and whose network is not trained."""
    return GUDGenerator(basis, preconditioning="gaussian", max_iter=0, random_state=0).fit(rows)


def noisy(generator, row, t, eps):
    """A row at times t under the generator's schedule, in the units of the data."""
    # The bases here are whitened: every component has unit variance and exp(log_snr) is its SNR.
    signal = 1 / (1 + np.exp(-generator.log_snr(t)))
    clean = generator.basis_.transform(row)
    return generator.basis_.inverse_transform(np.sqrt(signal) * clean + np.sqrt(1 - signal) * eps)


def draw_rows(states, labels, titles, name):
    """Draw one row of images for each label."""
    figure, axes = plt.subplots(
        len(labels), len(titles), figsize=(1.15 * len(titles) + 1.2, 1.2 * len(labels) + 0.2),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for label, images, line in zip(labels, states, axes, strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image.reshape(SIDE, SIDE), cmap="gray", vmin=-0.1, vmax=1.1)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    save(figure, name)


def bases():
    """One image under the same schedule in four bases."""
    rows, shown = patches()
    shape = (SIDE, SIDE)
    kinds = {
        "pixels": IdentityBasis(),
        "Haar wavelets": WaveletBasis(shape),
        "Fourier modes": FourierBasis(shape),
        "principal\ncomponents": PCABasis(),
    }
    t = [0.0, 0.5, 0.6, 0.7, 0.8, 1.0]
    eps = np.random.default_rng(0).normal(size=(1, SIDE * SIDE))
    states = [noisy(untrained(basis, rows), shown, t, eps) for basis in kinds.values()]
    draw_rows(states, list(kinds), [f"t = {time:g}" for time in t], "bases")


def softness_images():
    """One image in one basis under schedules of different softness."""
    rows, shown = patches()
    generator = untrained(WaveletBasis((SIDE, SIDE)), rows)
    t = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    eps = np.random.default_rng(0).normal(size=(1, SIDE * SIDE))
    schedules = {
        "softness inf": SoftConditioningSchedule(np.inf),
        "softness 1": SoftConditioningSchedule(1.0),
        "softness 0.1": SoftConditioningSchedule(0.1),
    }
    states = []
    for schedule in schedules.values():
        generator.schedule_ = schedule
        states.append(noisy(generator, shown, t, eps))
    draw_rows(states, list(schedules), [f"t = {time:g}" for time in t], "softness_images")


def softness():
    """Curves of the signal-to-noise ratio, and what is generated when."""
    variances = 100.0 / np.arange(1, 9) ** 2
    figure, axes = plt.subplots(2, 4, figsize=(10.5, 4.6), layout="constrained", sharex="col")
    kinds = {
        "softness = inf": SoftConditioningSchedule(np.inf),
        "softness = 1": SoftConditioningSchedule(1.0),
        "softness = 0.02": SoftConditioningSchedule(0.02),
        "window = 2": SequentialSchedule(window=2),
    }
    for (name, schedule), (top, bottom) in zip(kinds.items(), axes.T, strict=True):
        ScheduleDisplay.from_schedule(schedule, variances, ax=top, name=name)
        top.get_legend().set_visible(False)
        display = SoftnessDisplay.from_schedule(schedule, variances, ax=bottom, name="")
        display.colorbar_.remove()
        for ax in (top, bottom):
            ax.label_outer()
    save(figure, "softness")


def states():
    """Noise levels of an observed, a target and a missing component."""
    t = np.linspace(0, 1, 101)
    low, high, missing = -11.0, 7.0, 15.0
    lines = {
        "missing: constant, beyond gamma(1)": (np.full_like(t, missing), GREY, "--"),
        "target: follows the schedule": (low + (high - low) * t, ORANGE, "-"),
        "observed: constant, at gamma(0)": (np.full_like(t, low), BLUE, "-"),
    }
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    for label, (gamma, color, style) in lines.items():
        ax.plot(t, gamma, style, color=color, label=label, linewidth=2)
    ax.set(xlabel="time t (0 is data, 1 is noise)", yticks=[low, high], ylim=(-13, 17))
    ax.set_yticklabels([r"$\gamma(0)$", r"$\gamma(1)$"])
    ax.set_ylabel("noise level")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, "states")


def preconditioning():
    """Samples of models that were not trained, and of one that was."""
    X = make_moons(4000, noise=0.08, random_state=0)[0]
    kinds = ["gaussian", "marginal", "joint", "mixture"]
    panels = {"data": X[:1000]}
    for kind in kinds:
        untrained = GUDGenerator(preconditioning=kind, max_iter=0, random_state=0).fit(X)
        panels[f"{kind!r}, untrained"] = untrained.sample(1000)
    trained = GUDGenerator(max_iter=200, random_state=0).fit(X)
    panels["the default, trained"] = trained.sample(1000)
    figure, axes = plt.subplots(1, 6, figsize=(12, 2.3), layout="constrained")
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        ax.scatter(*rows.T, s=2, color=GREY if title == "data" else ORANGE, linewidths=0)
        ax.set(xlim=(-2, 3), ylim=(-1.4, 1.9), xticks=[], yticks=[])
        ax.set_title(title, fontsize=9)
    save(figure, "preconditioning")


def conditionals():
    """Draws of one column given the other, from the same fit in both directions."""
    X = make_moons(1500, noise=0.08, random_state=0)[0]
    generator = GUDGenerator(conditional_rate=0.5, retrieval="auto", random_state=0).fit(X)
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    values = [[-0.5, 0.5, 1.5], [-0.3, 0.25, 0.7]]
    for column, ax in enumerate(axes):
        ax.scatter(*X.T, s=2, color=GREY, linewidths=0)
        for value in values[column]:
            given = np.full((150, 2), np.nan)
            given[:, column] = value
            draws = generator.sample(given=given, random_state=0)
            ax.scatter(*draws.T, s=6, color=ORANGE, linewidths=0)
        ax.set_title("drawn: second column, given: first" if column == 0 else
                     "drawn: first column, given: second", fontsize=9)  # fmt: skip
        ax.set(xlabel="first column", ylabel="second column")
        ax.label_outer()
        ax.spines[["top", "right"]].set_visible(False)
    save(figure, "conditionals")


def missing_values():
    """The same missing values imputed in three ways."""
    truth = make_moons(1500, noise=0.07, random_state=0)[0]
    hidden = np.random.default_rng(0).random(len(truth)) < 0.4
    X = truth.copy()
    X[hidden, 1] = np.nan
    imputer = GUDImputer(random_state=0).fit(X)
    draws = imputer.set_params(strategy="sample").transform(X)
    means = imputer.set_params(strategy="mean").transform(X)
    panels = {
        "truth": truth,
        "mean of the column": SimpleImputer().fit_transform(X),
        "strategy='mean'": means,
        "strategy='sample'": draws,
    }
    figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.6), layout="constrained", sharey=True)
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        ax.scatter(*rows[~hidden].T, s=2, color=GREY, linewidths=0)
        ax.scatter(*rows[hidden].T, s=4, color=ORANGE, linewidths=0)
        ax.set_title(title, fontsize=9)
        ax.set(xticks=[], yticks=[])
    save(figure, "missing_values")


def bins():
    """Samples of a column of counts with and without ``bin_width``."""
    X = np.random.default_rng(0).poisson(3.0, size=(600, 1)).astype(float)
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.4), layout="constrained", sharex=True)
    panels = {"data": X}
    for width in (None, 1.0):
        generator = GUDGenerator(bin_width=width, max_iter=100, random_state=0).fit(X)
        panels[f"sampled, bin_width={width}"] = generator.sample(600)
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        ax.hist(rows[:, 0], np.arange(-1, 11, 0.125) - 0.0625,
                color=GREY if title == "data" else ORANGE)  # fmt: skip
        ax.set_title(title, fontsize=9)
        ax.set(xlabel="value", yticks=[], xticks=range(0, 11, 2))
        ax.spines[["top", "right", "left"]].set_visible(False)
    save(figure, "bins")


def training():
    """Loss and validation scores of one fit."""
    X_train, _ = train_test_split(load_digits().data, random_state=0)
    generator = GUDGenerator(bin_width=1.0, max_iter=120, random_state=0).fit(X_train)
    figure, ax = plt.subplots(figsize=(5.5, 3), layout="constrained")
    LossCurveDisplay.from_estimator(generator, ax=ax, name="digits, 120 epochs")
    save(figure, "training")


def image_conditionals():
    """Digits completed from a part, and from the means of blocks of pixels."""
    X_train, X_test = train_test_split(load_digits().images, test_size=0.2, random_state=0)
    generator = GUDGenerator(
        bin_width=1.0, bin_range=(0, 16), conditional_rate=0.5, network=UNet(width=32),
        sampler=DPMSolver(steps=25), max_iter=40, random_state=0,
    ).fit(X_train)  # fmt: skip
    truth = X_test[[1, 4, 7]]
    empty = np.full_like(truth, np.nan)
    upper = truth.copy()
    upper[:, 4:] = np.nan
    average = np.kron(np.eye(4), np.full((1, 2), 0.5))
    A = np.kron(average, average)
    coarse = truth.reshape(-1, 64) @ A.T
    blocks = np.kron(coarse.reshape(-1, 4, 4), np.ones((2, 2)))
    columns = [
        ("truth", truth), ("given", upper),
        *(("drawn", images) for images in generator.sample(4, given=upper)),
        ("", empty), ("given", blocks),
        *(("drawn", images) for images in generator.sample(4, observation=(A, coarse, 0.1))),
    ]  # fmt: skip
    widths = [0.4 if images is empty else 1.0 for _, images in columns]
    figure, axes = plt.subplots(
        3, len(columns), figsize=(10.5, 3.0), layout="constrained", width_ratios=widths
    )
    for line, (title, images) in zip(axes.T, columns, strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, cmap="gray_r", vmin=0, vmax=16)
            ax.set_facecolor("#fdebd9")
            ax.set(xticks=[], yticks=[], visible=images is not empty)
        line[0].set_title(title, fontsize=9)
    save(figure, "image_conditionals")


def extension():
    """Noise levels of a window of columns, and a series continued beyond its end."""
    rng = np.random.default_rng(0)
    series, noise = np.zeros(4200), rng.normal(size=4200)
    for k in range(2, len(series)):
        series[k] = 1.6 * series[k - 1] - 0.8 * series[k - 2] + noise[k]
    series = series[200:]
    crops = np.lib.stride_tricks.sliding_window_view(series, 12)
    schema = Schema(gaussianize=False)
    generator = GUDGenerator(schema=schema, conditional_rate=0.6, max_iter=30, random_state=0)
    generator.fit(crops)
    start = np.repeat(series[None, -40:], 5, axis=0)
    futures = generator.extend(start, 60, context=8, active=4)

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 4), layout="constrained", height_ratios=[1, 2.2]
    )
    column = np.arange(12)
    time = np.clip((column - 8 + 1) / 4, 0, 1)
    top.bar(column, time + 0.03, color=np.where(column < 8, BLUE, ORANGE))
    top.set(xlabel="column of the window", ylabel="time t of\nthe column", xticks=column,
            yticks=[0, 1], title="8 columns of context, 4 active columns")  # fmt: skip
    bottom.plot(futures.T, color=ORANGE, linewidth=0.8, alpha=0.7)
    bottom.plot(start[0], color="black")
    bottom.set(xlabel="step", title="one past, five continuations")
    for ax in (top, bottom):
        ax.spines[["top", "right"]].set_visible(False)
    save(figure, "extension")


FIGURES = (
    bases, softness, softness_images, states, preconditioning, conditionals, missing_values, bins,
    training, image_conditionals, extension, landing,
)  # fmt: skip


def main():
    """Draw the figures that are asked for."""
    by_name = {function.__name__: function for function in FIGURES}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(by_name)}")
    names = parser.parse_args().names or list(by_name)
    unknown = sorted(set(names) - set(by_name))
    if unknown:
        parser.error(f"there is no figure {unknown[0]!r}")
    for name in names:
        by_name[name]()
        print(name)


if __name__ == "__main__":
    main()
