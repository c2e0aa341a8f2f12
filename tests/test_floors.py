"""A file imports its own floor or a lower one, and floor 0 makes no random number."""

import ast
from pathlib import Path

import pytest

import gudlearn

ROOT = Path(gudlearn.__file__).parent
FLOORS = [
    ["diffusion"],
    ["_atomic", "_constraints", "_random", "bases", "nn"],
    [
        *("_bins", "_clusters", "_columns", "_conditions", "_determinants", "_encoding"),
        *("_engine", "_filling", "_fitting", "_grid", "_images", "_inversion", "_joint", "_known"),
        *("_loop", "_marginals", "_model", "_orders", "_resolve", "_rolling", "_rows", "_states"),
        *("_training", "conditioning", "networks", "samplers", "schedules", "_ties"),
        "transformers",
    ],
    [
        *("_built", "_draws", "_extension", "_learner", "_scores", "_wrapping"),
        *("classifier", "generator", "imputer", "outliers", "pipeline"),
    ],
    ["__init__", "__main__", "callbacks", "metrics", "plotting"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def part(path):
    """The file or folder directly under the package."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path):
    """Dotted names of all that a file imports, relative imports made absolute."""
    package = ("gudlearn", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_descend(path):
    floor = FLOOR_OF[part(path)]
    for name in imported(path):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        # What the package itself defines is its version.
        if package == "gudlearn" and target and target != "__version__":
            assert FLOOR_OF[target] <= floor, f"{path.name} on floor {floor} imports {name}"


FLOOR_0 = [path for path in FILES if part(path) in FLOORS[0]]
RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "manual_seed"}
RANDOM |= {"normal", "normal_", "uniform_", "bernoulli", "multinomial", "random", "Generator"}


@pytest.mark.parametrize("path", FLOOR_0, ids=lambda path: path.name)
def test_mathematics_knows_no_sklearn_and_makes_no_random_number(path):
    assert not [n for n in imported(path) if n.split(".")[0] in ("sklearn", "pandas", "scipy")]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & RANDOM


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_is_never_seeded_globally(path):
    # On a Generator it is private; torch.manual_seed and np.random.seed are everybody's.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in ("torch.manual_seed", "np.random.seed")


def test_only_one_file_imports_private_parts_of_sklearn():
    private = {
        path.name
        for path in FILES
        for name in imported(path)
        if name.startswith("sklearn.") and any(p.startswith("_") for p in name.split("."))
    }
    assert private <= {"_constraints.py"}
