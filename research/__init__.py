"""The control plane of autoresearch-evo: run, judge, remember and choose experiments on train.py."""
