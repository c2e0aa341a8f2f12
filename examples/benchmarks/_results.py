"""Results as lines of JSON: a run continues where an earlier one stopped."""

import json


def read(path):
    """Results of a file, a list of dict; none if there is no file, or path is None."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def append(path, *results):
    """Write results to the end of a file, unless path is None."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(result) + "\n" for result in results)
