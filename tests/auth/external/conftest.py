"""An application that knows a provider of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.settings import Settings
from service.testing.application import make_settings
from tests.support.provider import Provider, serving


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider of the test's own."""
    async with serving() as one:
        yield one


@pytest.fixture
def settings(database_url: str, tmp_path: Path, provider: Provider) -> Settings:
    """Settings with the provider as an OpenID provider, as GitHub and as Microsoft."""
    microsoft = f"{provider.issuer}/common/v2.0"
    return make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        cors_origins="http://app.test",
        external_return_urls="com.example.app:/signed-in,http://127.0.0.1/signed-in",
        external_providers={
            "acme": provider.settings(title="Acme"),
            "github": provider.settings(),
            "microsoft": provider.settings(issuer=microsoft),
        },
    )
