"""`service doctor`, against real servers."""
