"""Personal API keys, by which an account's own programs call the service."""
