"""The service beside its peers: the same work, PostgreSQL and data, in one run."""
