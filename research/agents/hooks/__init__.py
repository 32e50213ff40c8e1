"""Holds the five hooks of a coding client. They record nothing that anything else depends on."""
