"""Renderers: a kernel of the loop stratum as text of another language."""
