"""Defines the command line ``research VERB``. Each verb is a thin layer over the rooms."""
