"""The error of an embedded PostgreSQL that can't serve."""


class EmbeddedError(Exception):
    """One clear sentence for a person, sometimes followed by the tail of PostgreSQL's log."""
