"""Encryption of secrets that the service must read again, at rest: those of authenticator apps."""
