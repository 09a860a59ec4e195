"""Timings; `python -m benchmarks.<name>`."""

import instascene_core  # noqa: F401  before torch is: sets how OpenMP's threads wait
