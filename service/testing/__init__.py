"""A pytest plugin for those who test against this service (docs/testing.md).

pytest loads this module in every suite of an environment that has the service, so it imports
nothing: neither the service nor pytest-asyncio, which only the extra `testing` brings.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: "pytest.Config") -> None:
    """Offer the fixtures where asynchronous ones can run."""
    plugins = config.pluginmanager
    # By its entry point, or by `-p` where those are not loaded.
    if plugins.hasplugin("asyncio") or plugins.hasplugin("pytest_asyncio.plugin"):
        plugins.import_plugin("service.testing.plugin")
