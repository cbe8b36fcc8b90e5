"""A certified OpenID provider of npm's, strict where the provider of the tests' own is not."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from tests.support.clients.tools import install_npm_package
from tests.support.polling import PATIENCE, until
from tests.support.provider import CLIENT_ID, CLIENT_SECRET

PACKAGE: Final = "oidc-provider@9.13.3"
PROGRAM: Final = Path(__file__).with_suffix(".mjs")


@dataclass
class CertifiedProvider:
    """Its process, by what it wrote."""

    log: Path

    def why_refused(self) -> list[str]:
        """Why it refused codes, in its own words."""
        lines = self.log.read_text().splitlines()
        return [line.removeprefix("refused: ") for line in lines if line.startswith("refused: ")]


async def install(folder: Path) -> None:
    """Put the provider into a folder."""
    await install_npm_package(PACKAGE, folder)
    shutil.copy(PROGRAM, folder)


@asynccontextmanager
async def certified_provider(
    folder: Path, log: Path, port: int, redirect_uri: str
) -> AsyncIterator[CertifiedProvider]:
    """The provider of a folder, with the service as its client, until the block ends."""
    arguments = [str(port), CLIENT_ID, CLIENT_SECRET, redirect_uri]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *("node", str(folder / PROGRAM.name), *arguments),
            cwd=folder,
            # Its warnings, that it is no provider for production, go unread.
            env=os.environ | {"NODE_ENV": "test"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    async def ready() -> bool:
        text = log.read_text()
        assert process.returncode is None, text
        return "ready" in text.splitlines()

    try:
        await until(ready, PATIENCE)
        yield CertifiedProvider(log)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def sign_in_and_agree(tab: Page, name: str) -> None:
    """Fill in the provider's two pages; it takes any name and password."""
    await tab.locator("input[name=login]").fill(name)
    await tab.locator("input[name=password]").fill("any")
    await tab.get_by_role("button", name="Sign-in").click()
    await tab.get_by_role("button", name="Continue").click()
