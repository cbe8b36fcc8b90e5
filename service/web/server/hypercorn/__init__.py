"""Hypercorn, by its public API and with patches for what it lacks."""
