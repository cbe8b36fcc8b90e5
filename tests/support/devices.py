"""The authenticators that Chromium has for tests, in the place of telephones and security keys."""

from dataclasses import dataclass
from typing import Any

from playwright.async_api import CDPSession, Page

PLATFORM = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
    "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip
U2F = {
    "protocol": "u2f", "transport": "usb", "hasResidentKey": False, "hasUserVerification": False,
    "automaticPresenceSimulation": True,
}  # fmt: skip


@dataclass
class Device:
    """An authenticator that is connected to a tab, whose person touches it at once."""

    session: CDPSession
    id: str

    async def _send(self, command: str, **values: Any) -> Any:
        return await self.session.send(
            f"WebAuthn.{command}", {"authenticatorId": self.id, **values}
        )

    async def touch(self, *, at_once: bool) -> None:
        """Let the person touch it at once, or wait with it for ever."""
        await self._send("setAutomaticPresenceSimulation", enabled=at_once)

    async def recognise(self, *, user: bool) -> None:
        """Let it recognise its user from now on, or not."""
        await self._send("setUserVerified", isUserVerified=user)

    async def credentials(self) -> list[dict[str, Any]]:
        """What is stored on it."""
        found: list[dict[str, Any]] = (await self._send("getCredentials"))["credentials"]
        return found

    async def store(self, credential: dict[str, Any]) -> None:
        """Store a credential of another one."""
        await self._send("addCredential", credential=credential)

    async def unplug(self) -> None:
        """Disconnect it."""
        await self._send("removeVirtualAuthenticator")


async def plug_in(tab: Page, options: dict[str, object]) -> Device:
    """Connect an authenticator to a tab."""
    session = await tab.context.new_cdp_session(tab)
    await session.send("WebAuthn.enable")
    answer = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return Device(session, str(answer["authenticatorId"]))
