"""Passkeys and security keys (Web Authentication, level 3)."""
