"""What the embedded PostgreSQL tells a person when it can't serve."""


class EmbeddedError(Exception):
    """One clear sentence for a person, sometimes followed by the tail of PostgreSQL's log."""
