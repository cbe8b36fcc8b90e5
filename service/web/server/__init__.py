"""Replacements for parts of Quart and Hypercorn."""
