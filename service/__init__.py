"""Accounts, JWT sessions and posts over HTTP: an asynchronous API service."""
