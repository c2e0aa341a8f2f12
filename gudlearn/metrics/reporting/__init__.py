"""Reports: every metric at once, beside oracles, as text, as a frame and as a page."""

from gudlearn.metrics.reporting.compute import report
from gudlearn.metrics.reporting.result import Report

__all__ = ["Report", "report"]
