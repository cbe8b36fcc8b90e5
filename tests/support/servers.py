"""Tests of both servers that take long."""

import pytest

# For tests with the fixture `server` that start a process where another quick test does so, too.
uvicorn_later = pytest.mark.parametrize(
    "server", ["hypercorn", pytest.param("uvicorn", marks=pytest.mark.proof)], indirect=True
)
