"""What `scripts/benchmark.py` is made of: models, simulators as workers, statistics, figures."""
