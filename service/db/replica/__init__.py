"""Reads by a standby of the database: how far it follows, its pool, and when the primary reads."""
