"""Holds the fixed half of the benchmark that a researcher rarely reads: data, kernels, attention, summary.

prepare.py and train.py call it. It imports nothing of ours but itself: the contract's fingerprint covers prepare.py and
the files of this folder, and a score depends on nothing else of ours.
"""
