"""Authentication: tokens, passwords, the principal, login and refresh."""
