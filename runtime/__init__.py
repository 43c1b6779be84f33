"""Devices, memory, plans: running what the compiler made."""
