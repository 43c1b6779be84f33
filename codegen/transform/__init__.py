"""Transforms of loop trees, one file each: each checks, builds, and replaces, or raises `ScheduleError` with a sentence."""
