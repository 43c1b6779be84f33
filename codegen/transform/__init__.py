"""Transforms of a kernel, one file each: check, build, replace."""
