"""Replacements for parts of Quart and of both servers, Hypercorn and uvicorn."""
