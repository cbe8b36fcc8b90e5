"""The database: engine, pool, sessions, queries and migrations."""
