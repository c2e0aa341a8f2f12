"""The types of the public interface: all are stated, and the generator's stub is like its code."""

import ast
import inspect
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

import gudlearn
import gudlearn.metrics
import gudlearn.testing
from gudlearn._constraints import StrOptions
from gudlearn.generator import GUDGenerator

PUBLIC = [
    getattr(module, name)
    for module in (gudlearn, gudlearn.metrics, gudlearn.testing)
    for name in module.__all__
]
# Methods that users call; those that make a display begin with "from_".
OWN = {"fit", "predict", "sample", "score", "transform", "plot", "save", "to_html", "score_samples"}


def functions_of(public):
    """The functions whose types users meet: itself, or a class's constructor and methods."""
    if not inspect.isclass(public):
        return [public]
    names = {name for name in vars(public) if name in OWN or name.startswith("from_")}
    if "Display" not in public.__name__ and "__init__" in vars(public):
        names.add("__init__")
    found = [getattr(public, name) for name in sorted(names)]
    return [inspect.unwrap(getattr(function, "__func__", function)) for function in found]


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public.__name__)
def test_every_parameter_of_the_interface_has_a_type(public):
    if public is GUDGenerator:
        pytest.skip("Its types are in the stub.")
    for function in functions_of(public):
        if not function.__module__.startswith("gudlearn"):
            continue
        for name, parameter in inspect.signature(function).parameters.items():
            typed = parameter.annotation is not parameter.empty
            assert typed or name in ("self", "cls"), (function.__qualname__, name)


@pytest.fixture(scope="module")
def tree():
    """The syntax tree of the generator's stub."""
    path = Path(inspect.getsourcefile(GUDGenerator)).with_suffix(".pyi")
    return ast.parse(path.read_text())


@pytest.fixture(scope="module")
def stub(tree):
    """The class's nodes in the stub, by name; overloads are several."""
    (kind,) = (n for n in tree.body if isinstance(n, ast.ClassDef))
    found = {}
    for node in kind.body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def parameters_of(node, overload):
    """Name, kind and default of each parameter of a node of the syntax tree."""
    arguments, kind = node.args, inspect.Parameter
    assert not (arguments.vararg or arguments.kwarg or arguments.posonlyargs)
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    for group, values, name in (
        (arguments.args, defaults, kind.POSITIONAL_OR_KEYWORD),
        (arguments.kwonlyargs, arguments.kw_defaults, kind.KEYWORD_ONLY),
    ):
        for argument, value in zip(group, values, strict=True):
            assert argument.annotation is not None or argument.arg == "self"
            # The overload for True of a flag has no default there.
            flag = overload and argument.arg.startswith("return_")
            default = kind.empty if value is None else ast.literal_eval(value)
            yield argument.arg, name, False if flag else default


def test_the_stub_of_the_generator_has_the_methods_of_the_class(stub):
    own = {
        name for name in vars(GUDGenerator)
        if not name.startswith("_") and callable(getattr(GUDGenerator, name))
        and not name.endswith("_request")
    }  # fmt: skip
    properties = {n for n, value in vars(GUDGenerator).items() if isinstance(value, property)}
    assert set(stub) == own | properties | {"__init__", "__sklearn_tags__"}


def test_the_stub_of_the_generator_has_the_parameters_of_the_code(stub):
    for name, nodes in stub.items():
        if isinstance(vars(GUDGenerator)[name], property):
            continue
        code = inspect.signature(getattr(GUDGenerator, name)).parameters.values()
        expected = [(p.name, p.kind, p.default) for p in code]
        for node in nodes:
            assert list(parameters_of(node, len(nodes) > 1)) == expected, name
            assert node.returns is not None


def texts_of(annotation):
    """The texts that an annotation allows; None if it allows any."""
    if annotation is str:
        return None
    if get_origin(annotation) is Literal:
        return {value for value in get_args(annotation) if isinstance(value, str)}
    parts = [texts_of(part) for part in get_args(annotation)]
    return None if None in parts else set().union(*parts)


def annotations_of(public, tree, stub):
    """Annotations of the parameters of a constructor, by name."""
    if public is not GUDGenerator:
        return inspect.get_annotations(public.__init__)
    imports = ast.Module([n for n in tree.body if isinstance(n, ast.ImportFrom)], [])
    exec(compile(imports, "stub", "exec"), names := {})
    (node,) = stub["__init__"]
    arguments = [*node.args.args[1:], *node.args.kwonlyargs]
    return {a.arg: eval(ast.unparse(a.annotation), names) for a in arguments}


@pytest.mark.parametrize(
    "public", [p for p in PUBLIC if "_parameter_constraints" in vars(p)], ids=lambda p: p.__name__
)
def test_types_allow_the_texts_that_parameters_take(public, tree, stub):
    annotations = annotations_of(public, tree, stub)
    for name, constraints in public._parameter_constraints.items():
        options = [c.options for c in constraints if isinstance(c, StrOptions)]
        found = texts_of(annotations[name]) if name in annotations else None
        if options and found is not None:
            assert found == set().union(*options), (public.__name__, name)


def test_the_package_says_that_it_has_types():
    assert (Path(gudlearn.__file__).parent / "py.typed").is_file()
