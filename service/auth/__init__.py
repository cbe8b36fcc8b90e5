"""Who is calling: tokens, passwords, the principal, login and refresh."""
