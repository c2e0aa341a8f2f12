"""Linear equalities and inequalities between columns, written as text."""

import re
from dataclasses import dataclass

from gudlearn.data.columns import nearest_name

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|`(?P<quoted>[^`]+)`"
    r"|(?P<sign>==|<=|>=|<|>|[-+*]))"
)
_COMPARISONS = ("==", "<=", ">=", "<", ">")


@dataclass(frozen=True)
class Linear:
    """One comparison of two sums.

    Parameters
    ----------
    text : str
    left, right : tuple of (coefficient, name)
        Terms in their order; the name of a constant is None.
    comparison : {"==", "<=", ">=", "<", ">"}
    """

    text: str
    left: tuple
    right: tuple
    comparison: str

    @property
    def names(self):
        """Names of the columns, each once."""
        return list(dict.fromkeys(n for _, n in (*self.left, *self.right) if n is not None))

    def coefficient(self, name):
        """The coefficient of a column in left minus right."""
        return sum(c for c, n in self.left if n == name) - sum(
            c for c, n in self.right if n == name
        )

    def alone(self, name):
        """The other side of an equality in which a column stands alone on one side, or None."""
        for side, other in ((self.left, self.right), (self.right, self.left)):
            if side == ((1, name),) and all(n != name for _, n in other):
                return other
        return None


def parse(text):
    """The comparisons that a text states, a list of `Linear`: "0 <= a <= b" states two.

    Raises
    ------
    ValueError
        If the text is no comparison of sums.
    """
    tokens, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise _wrong(text, f"cannot read {text[place:].strip()[:20]!r}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    cuts = [k for k, (kind, value) in enumerate(tokens)
            if kind == "sign" and value in _COMPARISONS]  # fmt: skip
    if not cuts:
        raise _wrong(text, "holds none of ==, <=, >=, < and >")
    bounds = [-1, *cuts, len(tokens)]
    sums = [
        _sum(text, tokens[first + 1 : last])
        for first, last in zip(bounds, bounds[1:], strict=False)
    ]
    found = [Linear(text, sums[k], sums[k + 1], tokens[cut][1]) for k, cut in enumerate(cuts)]
    for linear in found:
        if not any(linear.coefficient(name) for name in linear.names):
            raise _wrong(text, "compares no column")
    return found


def _sum(text, tokens):
    """The terms of a sum, a tuple of (coefficient, name)."""
    terms, k = [], 0
    while k < len(tokens):
        sign = 1
        if tokens[k] in (("sign", "+"), ("sign", "-")):
            sign = -1 if tokens[k][1] == "-" else 1
            k += 1
        elif terms:
            raise _wrong(text, f"has no sign before {tokens[k][1]!r}")
        factors = tokens[k : k + 1]
        k += 1
        while k + 1 < len(tokens) and tokens[k] == ("sign", "*"):
            factors.append(tokens[k + 1])
            k += 2
        terms.append(_term(text, sign, factors))
    if not terms:
        raise _wrong(text, "has an empty side")
    return tuple(terms)


def _term(text, sign, factors):
    coefficient, name = sign, None
    for kind, value in factors:
        if kind == "number":
            number = float(value)
            coefficient *= int(number) if number.is_integer() else number
        elif kind in ("name", "quoted") and name is None:
            name = value
        else:
            raise _wrong(text, "is not linear" if kind != "sign" else f"has {value!r} out of place")
    if not factors:
        raise _wrong(text, "ends with a sign")
    return coefficient, name


def _wrong(text, what):
    return ValueError(
        f"constraints holds {text!r}, which {what}. Write sums of columns with coefficients, "
        "compared by ==, <=, >=, < or >, such as 'a + 2*b <= `another column`'."
    )


def check_names(linear, names):
    """Raise if a comparison names a column that is not there.

    Raises
    ------
    ValueError
    """
    for name in linear.names:
        if name not in names:
            raise ValueError(
                f"constraints holds {linear.text!r}, but X has no column {name!r}. "
                f"{nearest_name(name, names)}Its columns are {', '.join(map(repr, names[:10]))}."
            )
