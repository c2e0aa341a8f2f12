"""The order of components, by numbers or by names of components and groups."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from gudlearn.bases.base import Components
from gudlearn.schedules import EndPoints, SequentialSchedule, SoftConditioningSchedule

DIM = 6
TIMES = torch.linspace(0.0, 1.0, 401, dtype=torch.float64)


def describe():
    return Components(
        variances=np.array([8.0, 0.003, 1.0, 60.0, 0.2, 1.0]),
        scale=np.ones(DIM),
        order=np.array([2.0, 0.0, 1.0, 1.0, 3.0, 3.0]),
        names=np.array([f"column{i}" for i in range(DIM)]),
        groups=np.array(["left", "left", "middle", "right", "right", "right"]),
        columns=None,
    )


def common_ends(components):
    """The same effective end points for all components."""
    log_variances = np.log(components.variances)
    return EndPoints(log_variances - 11.0, log_variances + 6.0)


def test_names_and_groups_are_numbered_in_the_order_listed():
    components = describe()
    ends = common_ends(components)
    names = ["right", "left", "middle"]
    kinds = (list, tuple, np.array, pd.Index, pd.Series)
    for schedule in (SoftConditioningSchedule(0.2), SequentialSchedule()):
        by_value = clone(schedule).set_params(order=[1, 1, 2, 0, 0, 0])
        for kind in kinds:
            by_name = clone(schedule).set_params(order=kind(names))
            assert torch.equal(
                by_name.build(components, ends)(TIMES), by_value.build(components, ends)(TIMES)
            )


def test_names_in_a_nested_list_share_their_order():
    components = describe()
    ends = common_ends(components)
    for schedule in (SoftConditioningSchedule(0.2), SequentialSchedule()):
        by_name = clone(schedule).set_params(order=["column3", ["left", "column5"], ("middle",),
                                                    ["column4"]])  # fmt: skip
        by_value = clone(schedule).set_params(order=[1, 1, 2, 0, 3, 1])
        assert torch.equal(
            by_name.build(components, ends)(TIMES), by_value.build(components, ends)(TIMES)
        )
    # A selection of all components is the full basis: unknown names are refused.
    with pytest.raises(ValueError, match="'column9', which is neither"):
        by_name = clone(schedule).set_params(order=["left", "middle", "right", "column9"])
        by_name.build(components.take(np.arange(DIM)), ends)


def test_an_order_of_the_full_basis_applies_to_a_selection():
    components, order = describe(), [5.0, 3.0, 1.0, 4.0, 2.0, 0.0]
    mask = np.array([True, False, True, True, False, True])
    part = components.take(mask)
    ends = common_ends(part)
    for schedule in (SoftConditioningSchedule(0.4), SequentialSchedule(2.0)):
        whole = clone(schedule).set_params(order=order)
        cut = clone(schedule).set_params(order=np.array(order)[mask])
        twice = components.take([0, 1, 2, 3, 5]).take([0, 2, 3, 4])
        expected = cut.build(part, ends)(TIMES)
        assert torch.equal(whole.build(part, ends)(TIMES), expected)
        assert torch.equal(whole.build(twice, ends)(TIMES), expected)
        names = [f"column{i}" for i in np.argsort(order)]
        listed = clone(schedule).set_params(order=names)
        assert torch.equal(listed.build(part, ends)(TIMES), expected)
        with pytest.raises(ValueError, match="order has 5 entries but the basis has 6"):
            clone(schedule).set_params(order=order[:5]).build(part, ends)


WRONG_ORDERS = {
    "typo": ("varience", ValueError, "'varience' is unknown. Did you mean 'variance'?"),
    "length": ([1, 2, 3], ValueError, "order has 3 entries but the basis has 6 components"),
    "nan": ([1, 2, 3, 4, 5, math.nan], ValueError, "order must be finite"),
    "shape": (np.ones((6, 1)), ValueError, "order must be one-dimensional"),
    "empty": ([], ValueError, "order must be one-dimensional and not empty"),
    "name": (["left", "midle", "right"], ValueError, "'midle'.*Did you mean 'middle'?"),
    "missing": (["left", "right"], ValueError, r"covers 'column2' \(group 'middle'\) never"),
    "overlap": (["left", "middle", "right", "column1"], ValueError, "'column1' .* 2 times"),
    "repeated": (["left", "left", "middle", "right"], ValueError, "lists 'left' twice"),
    "mixed": (np.array(["left", 2], dtype=object), TypeError, "numbers only, or names and lists"),
    "number": (np.array(3), ValueError, "order must be one-dimensional"),
    "none": (None, ValueError, "order must be one-dimensional"),
    "ragged": ([[1, 2], [3]], TypeError, "numbers only, or names and lists"),
    "nested": ([["left", 1], ["middle"]], TypeError, "numbers only, or names and lists"),
    "bool": ([True] * 6, TypeError, "numbers only, or names and lists"),
}


@pytest.mark.parametrize("kind", [SoftConditioningSchedule, SequentialSchedule])
@pytest.mark.parametrize(("order", "error", "match"), WRONG_ORDERS.values(), ids=WRONG_ORDERS)
def test_invalid_orders_are_refused(kind, order, error, match):
    with pytest.raises(error, match=match):
        kind(order=order).build(describe(), common_ends(describe()))


def test_nearly_equal_orders_have_a_finite_path():
    components = describe()
    order = [0.0, 5e-324, 0.0, 0.0, 0.0, 1e-310]
    with np.errstate(all="raise"):
        path = SoftConditioningSchedule(order=order).build(components, common_ends(components))
    assert path(TIMES).isfinite().all()
