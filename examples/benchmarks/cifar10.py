"""Test bits/dim of gudlearn on images, for any basis and schedule.

    python cifar10.py --data DIR --minutes 30 --basis pca --softness 1 --out results.jsonl
    python cifar10.py --data DIR --minutes 30 --table --seeds 0 1 --out results.jsonl
    python cifar10.py --print --out results.jsonl

`DIR` is a folder with a `load.py`: `load.cifar10("train")` and `load.cifar10("test")` return
images, uint8 (n, 32, 32, 3), and labels; `load.npz("mnist")` and `load.npz("fashion_mnist")`
return a dict with `x_train` and `x_test`. The last 2,000 training images (a tenth of fewer than
20,000) are held back from training: use `--n-choice` of them to choose between settings. The first
`--n-test` test images are scored once.

`--softness` sets the schedule: a number is 1/a of `SoftConditioningSchedule` (inf is a = 0);
`columns` generates the image column by column. These are columns of pixels with the identity basis
and columns of the coarsest cells with three-level Haar wavelets (`haar3`).

Each run appends one JSON line; settings that are in the file are skipped. `--table` makes one run
after another, each in a process of its own. `--print` prints the results of the file as tables.

A run in progress is saved next to `--out` at the end of epochs, and a later start continues it for
the minutes that are left (`--no-resume` does neither). An interruption costs the unfinished epoch.
The optimizer's moments, the averages of the weights over steps and the adapted density of noise
levels start again; the learning rate warms up again and falls to zero over the minutes that are
left; and the random numbers are those of the first start. The entry `starts` of a result counts
the starts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _images import (
    BASES,
    draw_pictures,
    fit,
    frechet_features,
    load_images,
    make_basis,
    make_network,
    make_schedule,
)
from _where import machine, versions

from gudlearn import DPMSolver, GUDGenerator
from gudlearn.metrics import frechet_distance

SETS = ("cifar10", "mnist", "fashion_mnist")
# a = 1/softness of the rows of the table; "columns" are below.
STEEPNESS = (0.0, 0.5, 1.0, 2.0)
TABLE = [
    *((b, f"{1 / a if a else math.inf:g}") for b in BASES[1:5] for a in STEEPNESS),
    ("identity", "columns"),
    ("haar3", "columns"),
]
# Two runs with the same settings are the same run.
SETTINGS = (
    "set", "minutes", "basis", "softness", "network", "preconditioning", "loss", "flips", "mirror",
    "batch", "lr", "seed", "device", "precision", "steps", "n_test", "n_choice", "n_generate",
)  # fmt: skip
# With fewer images the distance depends more on their number than on their distribution.
LEAST_FOR_FRECHET = 256


# ---------------------------------------------------------------- one run


def settings_of(options, **changes):
    """Settings of a run, as a dict that JSON can store without change."""
    return {name: getattr(options, name) for name in SETTINGS} | changes


def digest(settings):
    """A short name of settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def make_generator(settings, shape):
    """The estimator of some settings, for images (height, width, channels)."""
    return GUDGenerator(
        basis=make_basis(settings["basis"], shape[2]),
        schedule=make_schedule(settings["softness"], settings["basis"], shape),
        network=make_network(settings["network"], settings["mirror"]),
        sampler=DPMSolver(steps=settings["steps"]) if settings["steps"] else "auto",
        preconditioning=settings["preconditioning"],
        loss_weighting=settings["loss"],
        random_flips=settings["flips"],
        batch_size=settings["batch"] or "auto",
        learning_rate_init=settings["lr"] or "auto",
        device=settings["device"],
        precision=settings["precision"],
        random_state=settings["seed"],
    )


def bits_of(generator, images, prefix=""):
    """Mean bits per dimension of images, its standard error, and the seconds it took."""
    start = time.perf_counter()
    log_likelihood = generator.score_samples(images)
    bits = -log_likelihood / (images[0].size * math.log(2))
    return {
        f"{prefix}bits_per_dim": float(bits.mean()),
        f"{prefix}standard_error": float(bits.std(ddof=1) / math.sqrt(len(bits))),
        f"{prefix}score_seconds": round(time.perf_counter() - start, 2),
    }


def samples_of(generator, n_images, test, train, folder):
    """Generated images, samples per second, and their distance from test images."""
    start = time.perf_counter()
    fake = generator.sample(n_images)
    seconds = time.perf_counter() - start
    found = {"samples_per_second": round(n_images / seconds, 4)}
    features = frechet_features(folder) if n_images >= LEAST_FOR_FRECHET else None
    if features is not None:
        n = min(n_images, len(test), len(train))
        found["frechet"] = frechet_distance(test[:n], fake[:n], features=features)
        # The distance of two real samples shows what the number of images alone contributes.
        found["frechet_of_train"] = frechet_distance(test[:n], train[:n], features=features)
        found["n_frechet"] = n
    return fake, found


def training_summary(generator, spent, settings, n_train):
    """What training did, for the result line."""
    # The estimator's default batch size for more than 32 images is 32.
    batch = settings["batch"] or 32
    nats = np.asarray(generator.validation_scores_)
    return {
        "fit_seconds": round(spent["seconds"], 2),
        "starts": spent["starts"],
        "steps": spent["steps"],
        "images_seen": spent["steps"] * min(batch, n_train),
        "n_iter": int(generator.n_iter_),
        "n_parameters": int(generator.n_parameters_),
        "validation_bits": (-nats / math.log(2)).round(5).tolist(),
        "validation_iters": [int(n) for n in generator.validation_iters_],
    }


def peak_memory(device):
    """Peak memory of this process and of the GPU, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in KiB elsewhere.
    found = {"peak_rss_mb": round(peak / (2**20 if sys.platform == "darwin" else 2**10))}
    if device == "cuda":
        found["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        found["gpu"] = torch.cuda.get_device_name()
    return found


def measure(options, settings):
    """Fit, score and sample with some settings; return the result line and the saved run's file."""
    train, choice, test = load_images(options.data, settings["set"])
    shape = (*train.shape[1:], 1)[:3]
    generator = make_generator(settings, shape)
    name = digest(settings)
    path = options.out.with_name(f"{options.out.stem}-{name}.joblib") if options.resume else None
    spent = fit(generator, train, 60 * settings["minutes"], path, 60 * options.save_every)
    generator = spent["generator"]
    result = {"settings": settings, "n_train": len(train)}
    result |= training_summary(generator, spent, settings, len(train))
    # With --minutes 0 the model is untrained, and these are the bits of the marginals.
    result |= bits_of(generator, test[: settings["n_test"]])
    if settings["n_choice"]:
        result |= bits_of(generator, choice[: settings["n_choice"]], "choice_")
    if settings["n_generate"]:
        fake, found = samples_of(generator, settings["n_generate"], test, train, options.data)
        result |= found
        label = f"{settings['set']}-{settings['basis']}-{settings['softness']}-{name}"
        draw_pictures(generator, test, fake, shape, options.pictures, label)
    result |= peak_memory(settings["device"])
    result |= {"machine": machine(), "date": date.today().isoformat(), "versions": versions()}
    return result, path


def run(options):
    """Make the run of the options unless the file has its result."""
    settings = settings_of(options)
    if settings in [result["settings"] for result in read(options.out)]:
        print(f"{label_of(settings)}: in {options.out} already", flush=True)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result, path = measure(options, settings)
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    if path is not None:
        path.unlink(missing_ok=True)
    print(json.dumps(result))
    print(
        f"{label_of(settings)}: {result['bits_per_dim']:.4f} ± {result['standard_error']:.4f} "
        f"bits/dim of {settings['n_test']} test images; {result['n_parameters']} weights, "
        f"{result['images_seen']} images seen in {result['fit_seconds']:.0f} s"
        + (f", Frechet distance {result['frechet']:.1f} of {result['n_frechet']} images, "
           f"{result['frechet_of_train']:.1f} of as many training images"
           if "frechet" in result else ""),
        flush=True,
    )  # fmt: skip


def label_of(settings):
    """The settings that tables distinguish, as text."""
    return (
        f"{settings['set']} {settings['basis']}, softness {settings['softness']}, "
        f"{settings['minutes']:g} min, seed {settings['seed']}"
    )


# ---------------------------------------------------------------- the table


def read(path):
    """Read the results of a file, without those of `image_peers.py`."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines if line.strip()]
    return [result for result in results if "settings" in result]


def run_table(options, argv):
    """Make the runs of the table, each in a process of its own; return how many failed."""
    failures = 0
    for seed in options.seeds:
        for basis, softness in TABLE:
            settings = settings_of(options, basis=basis, softness=softness, seed=seed)
            if settings in [result["settings"] for result in read(options.out)]:
                continue
            # If an option is given twice, the last one counts.
            own = ["--basis", basis, "--softness", softness, "--seed", str(seed), "--no-table"]
            code = subprocess.run([sys.executable, __file__, *argv, *own]).returncode
            if code:
                print(f"{label_of(settings)}: failed", flush=True)
            failures += code != 0
    return failures


def schedule_name(softness):
    """Heading of a softness in the table."""
    if softness in ("linear", "columns"):
        return softness
    return f"a = {1 / float(softness):g}"


def plus_minus(values):
    """Mean over seeds and its standard error, as text."""
    values = np.asarray(values.dropna(), dtype=float)
    if len(values) < 2:
        return "".join(f"{value:.4f} (1 seed)" for value in values)
    return f"{values.mean():.4f} ± {values.std(ddof=1) / math.sqrt(len(values)):.4f}"


def markdown(table):
    """A DataFrame of text as a Markdown table, its index first."""
    rows = [[table.index.name, *table.columns], ["---"] * (1 + len(table.columns))]
    rows += [[name, *row] for name, row in zip(table.index, table.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def bits_table(frame):
    """Bits per dimension: a row for each basis, a column for each schedule."""
    names = [f"a = {a:g}" for a in STEEPNESS]
    order = [*names, *sorted(set(frame["schedule"]) - set(names))]
    bits = frame.pivot_table(
        index="basis", columns="schedule", values="bits_per_dim", aggfunc=plus_minus
    ).reindex(columns=[name for name in order if name in set(frame["schedule"])])
    return markdown(bits.fillna("").loc[sorted(bits.index, key=BASES.index)])


def costs_table(frame):
    """Means over the seeds of what each run took."""
    columns = {
        "n_parameters": ("weights", "{:.0f}"),
        "n_iter": ("epochs", "{:.1f}"),
        "images_seen": ("images seen", "{:.0f}"),
        "fit_seconds": ("fit, s", "{:.0f}"),
        "score_seconds": ("score, s", "{:.0f}"),
        "samples_per_second": ("samples/s", "{:.3g}"),
        "frechet": ("Frechet distance", "{:.1f}"),
        "peak_rss_mb": ("peak memory, MB", "{:.0f}"),
    }
    frame = frame.assign(run=frame["basis"] + ", " + frame["schedule"])
    known = [name for name in columns if name in frame and frame[name].notna().any()]
    means = frame.groupby("run", sort=False)[known].mean()
    text = {columns[name][0]: means[name].map(columns[name][1].format) for name in known}
    return markdown(pd.DataFrame(text))


def print_tables(results):
    """Print two tables for each group of runs that differ in basis, schedule and seed alone."""
    groups = {}
    for result in results:
        settings = result["settings"]
        shared = {k: v for k, v in settings.items() if k not in ("basis", "softness", "seed")}
        own = {"basis": settings["basis"], "schedule": schedule_name(settings["softness"])}
        groups.setdefault(json.dumps(shared), []).append(result | own)
    for shared, runs in groups.items():
        frame = pd.DataFrame(runs)
        title = ", ".join(f"{k} {v}" for k, v in json.loads(shared).items() if v is not None)
        print(f"\n**{title}**\n\n{bits_table(frame)}\n")
        print(
            "Bits/dim, mean over seeds ± standard error over seeds. The choice of the test images "
            f"adds a standard error of at most {frame['standard_error'].max():.4f}, nearly the "
            f"same for all.\n\n{costs_table(frame)}"
        )
        if "n_frechet" in frame:
            n, real = frame["n_frechet"].max(), frame["frechet_of_train"].mean()
            print(f"\nFrechet distances of {n:.0f} images; as many training images: {real:.1f}.")
        for where in sorted(set(zip(frame["machine"], frame["date"], strict=True))):
            print(f"\nMeasured on {where[0]}, {where[1]}.")


# ---------------------------------------------------------------- command line


def softness(text):
    """A positive number in a unique spelling, "linear" or "columns"."""
    if text in ("linear", "columns"):
        return text
    if not float(text) > 0:
        raise ValueError
    return f"{float(text):g}"


def arguments(argv):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with load.py")
    add("--out", type=Path, default=Path("results.jsonl"), help="file to append to")
    add("--set", choices=SETS, default="cifar10")
    add("--minutes", type=float, default=30.0, help="of training; 0 leaves the model untrained")
    add("--basis", choices=BASES, default="auto")
    add("--softness", type=softness, default="linear", help="number, inf, linear or columns")
    add("--network", default="auto", help="auto, transformer, unet:WIDTH or unet:WIDTH:BLOCKS")
    add("--preconditioning", choices=("marginal", "gaussian"), default="marginal")
    add("--loss", choices=("likelihood", "uniform"), default="likelihood", help="weighting")
    add("--flips", action="store_true", help="mirror half of the images in training")
    add("--mirror", action="store_true", help="average over each image and its mirror")
    add("--batch", type=int, help="images per step")
    add("--lr", type=float, help="largest learning rate")
    add("--seed", type=int, default=0)
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    add("--threads", type=int, help="of torch")
    add("--steps", type=int, help="of the sampler; auto: 50, with columns up to 1000")
    add("--n-test", type=int, default=2000, help="test images to score")
    add("--n-choice", type=int, default=0, help="held-back images to score, for choices")
    add(
        "--n-generate", type=int, default=LEAST_FOR_FRECHET,
        help="samples to draw; fewer than the default: no Frechet distance; 0: no figures",
    )  # fmt: skip
    add("--pictures", type=Path, help="folder for figures; default: next to --out")
    add(
        "--resume", action=argparse.BooleanOptionalAction, default=True,
        help="save the run in progress, continue a saved one",
    )  # fmt: skip
    add("--save-every", type=float, default=5.0, help="least minutes between saves")
    add("--table", action=argparse.BooleanOptionalAction, help="run the table of bases")
    add("--seeds", nargs="+", type=int, default=[0, 1], help="of the table")
    add("--print", action="store_true", help="run nothing, print the tables of --out")
    options = parser.parse_args(argv)
    if options.pictures is None:
        options.pictures = options.out.parent / "pictures"
    if options.data is None and not options.print:
        parser.error("pass --data DIR, a folder with load.py")
    try:
        make_network(options.network)
        make_schedule(options.softness, options.basis, (8, 8, 1))
    except ValueError as error:
        parser.error(str(error))
    return options


def main(argv=None):
    """Make one run or the table of runs, or print tables."""
    argv = sys.argv[1:] if argv is None else argv
    options = arguments(argv)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.print:
        print_tables(read(options.out))
    elif options.table:
        return 1 if run_table(options, argv) else 0
    else:
        run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
