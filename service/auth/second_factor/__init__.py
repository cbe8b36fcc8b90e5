"""The second factor of a login: codes of an authenticator app (TOTP), and recovery codes."""
