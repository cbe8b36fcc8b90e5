"""Accounts: registration, profile, passwords and deletion."""
