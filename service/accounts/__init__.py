"""The users themselves: registration and profile."""
