"""Holds the five hooks of a coding client: they show what was recorded, guard what is fixed, and give the next order.

They record nothing that anything else depends on.
"""
