"""uvicorn, with a protocol of its own for connections."""
