"""Signatures of what is registered at run time. Written by `python -m tests.stubs`."""
