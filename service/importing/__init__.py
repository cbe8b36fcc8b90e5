"""Bringing users and posts over from the Flask service's database."""
