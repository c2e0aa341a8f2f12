"""The benchmark scripts run, on few rows and in few seconds."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "examples" / "benchmarks"


def test_the_density_benchmark_resumes_and_reports(tmp_path):
    out = tmp_path / "results.jsonl"
    command = [
        sys.executable, BENCHMARKS / "density.py", "--out", out, "--sets", "digits",
        "--rows", "120", "--seconds", "1", "--seeds", "0",
        "--methods", "gudlearn", "kde", "marginals",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["method"] for line in lines] == ["gudlearn", "kde", "marginals"]
    assert "**digits, 1 s** (discrete; " in first.stdout
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(out.read_text().splitlines()) == 3
    assert second.stdout.strip() in first.stdout
