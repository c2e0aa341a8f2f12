"""The rooms of the package: a file imports its own room and those below, and nothing private."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

import gudlearn
from small import continuous, small

ROOT = Path(gudlearn.__file__).parent
# From the lowest floor to the highest. Rooms on one floor do not import each other.
FLOORS = [
    ["_atomic", "_constraints", "_random", "_typing", "_versions", "storage"],
    ["diffusion"],
    ["nn"],
    ["bases", "schedules", "samplers", "networks", "execution"],
    ["conditioning"],
    ["data"],
    ["_specs"],
    ["encoding"],
    ["preconditioning"],
    ["model"],
    ["training"],
    ["diagnosis"],
    ["transforms"],
    ["generator", "pipeline"],
    ["classifier", "imputer", "outliers", "regressor"],
    ["callbacks", "metrics", "search", "testing", "transformers"],
    ["plotting"],
    ["files"],
    ["io"],
    ["commands"],
    ["__init__", "__main__"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES, MOST_MODULES, MOST_FILES_IN_A_CALL = 300, 50, 20, 8
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def room(path):
    """The file or folder directly under the package."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Dotted names of all that a file imports, relative imports made absolute."""
    package = ("gudlearn", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)


@every_file
def test_a_file_imports_its_own_room_and_lower_floors_only(path):
    own = room(path)
    for name in imported(path):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        # The package itself defines its version.
        if package != "gudlearn" or not target or target in (own, "__version__"):
            continue
        assert FLOOR_OF[target] < FLOOR_OF[own], f"{own} imports {name} from its own floor or above"


FLOOR_OF_MATHEMATICS = [path for path in FILES if room(path) == "diffusion"]
RANDOM = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "manual_seed"}
RANDOM |= {"normal", "normal_", "uniform_", "bernoulli", "multinomial", "random", "Generator"}


@pytest.mark.parametrize("path", FLOOR_OF_MATHEMATICS, ids=lambda path: path.name)
def test_mathematics_knows_no_sklearn_and_makes_no_random_number(path):
    assert not [n for n in imported(path) if n.split(".")[0] in ("sklearn", "pandas", "scipy")]
    names = {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert not names & RANDOM


@every_file
def test_torch_is_never_seeded_globally(path):
    # On a Generator it is private; torch.manual_seed and np.random.seed are everybody's.
    for node in ast.walk(tree_of(path)):
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


# Progress, and commands whose purpose is to print.
PRINTING = {"model/progress.py", "_versions.py"}


def test_one_file_prints_while_it_computes():
    printing = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert printing == PRINTING


# Private attributes of other packages' objects that there is no public name for.
OTHERS = {
    "sys._getframe",
    "torch._foreach_add_",
    "torch._foreach_lerp_",
    "torch._foreach_mul_",
    "torch._foreach_norm",
    "torch.cpu._is_avx512_bf16_supported",
    "step._scaler",  # of scikit-learn's PowerTransformer
}


def private_attributes(path):
    """Expressions ``x._y`` with x neither self nor cls nor super(), those of `OTHERS` left out."""
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Attribute):
            continue
        private = node.attr.startswith("_") and not node.attr.endswith("__")
        owner = ast.unparse(node.value)
        if private and owner not in ("self", "cls", "super()") and ast.unparse(node) not in OTHERS:
            yield ast.unparse(node)


@every_file
def test_no_object_reaches_into_another(path):
    assert not list(private_attributes(path))


def test_a_private_attribute_of_another_object_is_found(tmp_path):
    path = tmp_path / "file.py"
    path.write_text("class A:\n    def f(self, other):\n        return self._x + other._x\n")
    assert list(private_attributes(path)) == ["other._x"]


# Sizes


def code_lines(path):
    """Numbers of the lines of a file that hold code: no docstring, comment or blank line."""
    text = path.read_text(encoding="utf-8")
    tree, docstrings = ast.parse(text), set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
            continue
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            docstrings |= set(range(value.lineno, value.end_lineno + 1))
    lines = enumerate(text.splitlines(), start=1)
    code = {n for n, line in lines if line.strip() and not line.strip().startswith("#")}
    return code - docstrings, tree


@every_file
def test_files_and_functions_stay_small(path):
    code, tree = code_lines(path)
    assert len(code) <= MOST_LINES
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = set(range(node.body[0].lineno, node.end_lineno + 1)) & code
            assert len(body) <= MOST_FUNCTION_LINES, node.name


def test_few_modules_lie_directly_under_the_package():
    assert len(list(ROOT.glob("*.py"))) <= MOST_MODULES


# Walks


def files_between(call, last):
    """Files of the package in the chain of calls from a public method to a network's forward."""
    chain = []

    def profile(frame, event, arg):
        here = frame.f_code.co_filename
        if event != "call" or not here.endswith(last) or frame.f_code.co_name != "forward":
            return
        sys.setprofile(None)
        while frame is not None:
            file = Path(frame.f_code.co_filename)
            if ROOT in file.parents and file.name != "_atomic.py" and file not in chain:
                chain.append(file)
            frame = frame.f_back

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return [str(file.relative_to(ROOT)) for file in reversed(chain)]


def test_few_files_lie_between_a_public_method_and_the_network():
    X = continuous()
    gen = small(conditional_rate=0.3).fit(X)
    partial = np.where(np.arange(X.shape[1]) == 0, X, np.nan)
    network = str(Path("nn", "mlp.py"))
    for call in (
        lambda: gen.sample(2), lambda: gen.sample(given=partial), lambda: gen.score(X[:2]),
    ):  # fmt: skip
        chain = files_between(call, network)
        assert chain[0] == "generator.py" and chain[-1] == network
        assert len(chain) <= MOST_FILES_IN_A_CALL, chain


def test_public_methods_of_the_generator_are_short_and_stand_in_its_file():
    kind = gudlearn.GUDGenerator
    source = importlib.import_module("gudlearn.generator")
    code, tree = code_lines(Path(source.__file__))
    (body,) = (n.body for n in tree.body if getattr(n, "name", None) == kind.__name__)
    own = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    public = {
        name for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and method.__module__.startswith("gudlearn.")
    }  # fmt: skip
    # Nested parameters are set by a mixin of all estimators with specifications.
    assert public - set(own) == {"set_params"}
    assert {base.__name__ for base in kind.__mro__ if base.__module__.startswith("gudlearn.")} == {
        "GUDGenerator", "NamedSpecs", "Versioned",
    }  # fmt: skip
    for name in public & set(own):
        node = own[name]
        lines = set(range(node.body[0].lineno, node.end_lineno + 1)) & code
        assert len(lines) <= 10, name


# What is pickled


def leaves(value, seen):
    """Everything that an object holds, in any depth."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict):
        for part in value.values():
            yield from leaves(part, seen)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from leaves(part, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        yield value
        yield from leaves(vars(value), seen)
    else:
        yield value


@pytest.mark.parametrize(
    "parameters", [{}, {"retrieval": 20, "conditional_rate": 0.3}, {"basis": "pca"}], ids=str
)
def test_the_state_holds_arrays_specifications_and_plain_values(parameters):
    gen = small(**parameters).fit(continuous())
    gen.score(continuous())
    plain = (int, float, str, bool, type(None), np.ndarray, np.generic, np.dtype, type)
    for leaf in leaves(gen.state_, set()):
        ours = type(leaf).__module__.startswith("gudlearn.")
        assert ours or isinstance(leaf, (BaseEstimator, *plain)), type(leaf)
        assert "nn" not in type(leaf).__module__.split(".")


def test_the_state_cannot_be_changed():
    gen = small().fit(continuous())
    with pytest.raises(AttributeError):
        gen.state_.weights = {}
    with pytest.raises(AttributeError):
        gen.weights_ = {}
