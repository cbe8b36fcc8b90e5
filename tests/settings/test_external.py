"""The settings of external providers, whose names are not known before."""

import pytest

from service.settings import SettingsError, load_settings
from service.settings.external import ProviderKind

ACME = {
    "EXTERNAL_ACME_CLIENT_ID": "id",
    "EXTERNAL_ACME_CLIENT_SECRET": "secret",
    "EXTERNAL_ACME_ISSUER": "https://id.acme.example",
}
GOOGLE = {"EXTERNAL_GOOGLE_CLIENT_ID": "id", "EXTERNAL_GOOGLE_CLIENT_SECRET": "secret"}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_ENV", "testing")
    monkeypatch.setenv("SECRET_KEY", "a secret that is only good for tests")


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_known_providers_need_an_id_and_a_secret_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        **GOOGLE,
        EXTERNAL_GITHUB_CLIENT_ID="id",
        EXTERNAL_GITHUB_CLIENT_SECRET="secret",
        EXTERNAL_MICROSOFT_CLIENT_ID="id",
        EXTERNAL_MICROSOFT_CLIENT_SECRET="secret",
    )
    providers = load_settings().external_providers
    assert list(providers) == ["github", "google", "microsoft"]
    assert providers["google"].issuer == "https://accounts.google.com"
    assert providers["github"].kind is ProviderKind.GITHUB
    assert providers["github"].api_url == "https://api.github.com"
    assert providers["microsoft"].kind is ProviderKind.MICROSOFT


def test_any_other_provider_needs_its_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **ACME, EXTERNAL_ACME_TITLE="Acme Inc.", EXTERNAL_ACME_SCOPES="openid")
    acme = load_settings().external_providers["acme"]
    assert (acme.title, acme.scopes, acme.kind) == ("Acme Inc.", "openid", ProviderKind.OIDC)
    assert "secret" not in repr(acme).replace("client_secret", "")


def test_own_github_has_its_api_below_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        EXTERNAL_GITHUB_CLIENT_ID="id",
        EXTERNAL_GITHUB_CLIENT_SECRET="secret",
        EXTERNAL_GITHUB_ISSUER="https://git.example.com",
    )
    assert load_settings().external_providers["github"].api_url == "https://git.example.com/api/v3"


def test_variables_of_others_that_begin_alike_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, EXTERNAL_DNS_SERVICE_HOST="10.0.0.1", EXTERNAL_DNS_PORT="tcp://10.0.0.1:53")
    assert load_settings().external_providers == {}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"EXTERNAL_GOOGLE_CLIENT_ID": "id"}, "EXTERNAL_GOOGLE_CLIENT_SECRET: must be set"),
        ({"EXTERNAL_GOOGLE_CLIENT_SECRET": "s"}, "EXTERNAL_GOOGLE_CLIENT_ID: must be set"),
        ({"EXTERNAL_GOOGLE_TITLE": "G"}, "EXTERNAL_GOOGLE_CLIENT_ID: must be set"),
        ({**ACME, "EXTERNAL_ACME_ISSUER": ""}, "EXTERNAL_ACME_ISSUER: must be set"),
        ({**ACME, "EXTERNAL_ACME_ISSUER": "http://id.acme.example"}, "EXTERNAL_ACME_ISSUER: must"),
        ({**ACME, "EXTERNAL_ACME_ISSUER": "https://a.example/?b"}, "EXTERNAL_ACME_ISSUER: takes"),
        ({**ACME, "EXTERNAL_ACME_SCOPES": "email"}, "EXTERNAL_ACME_SCOPES: must have openid"),
        ({**ACME, "EXTERNAL_ACME_TITLE": " "}, "EXTERNAL_ACME_TITLE: takes"),
        ({"EXTERNAL_MY_IDP_CLIENT_ID": "id"}, "EXTERNAL_MY_IDP_CLIENT_ID: takes a name"),
        (
            {f"EXTERNAL_{'A' * 21}_CLIENT_ID": "id", f"EXTERNAL_{'A' * 21}_CLIENT_SECRET": "s"},
            f"EXTERNAL_{'A' * 21}_CLIENT_ID: takes a name",
        ),
        ({"EXTERNAL_RETURN_URLS": "javascript:alert(1)"}, "EXTERNAL_RETURN_URLS: takes"),
        ({"EXTERNAL_RETURN_URLS": "http://app.example.com/"}, "EXTERNAL_RETURN_URLS: takes"),
        ({"EXTERNAL_RETURN_URLS": "https://a@b.example/"}, "EXTERNAL_RETURN_URLS: takes"),
        ({"EXTERNAL_RETURN_URLS": "https://b.example/#a"}, "EXTERNAL_RETURN_URLS: takes"),
        ({"EXTERNAL_RETURN_URLS": "myapp:/signed-in"}, "EXTERNAL_RETURN_URLS: takes"),
    ],
)
def test_wrong_value_is_refused_and_its_setting_named(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], named: str
) -> None:
    given(monkeypatch, **values)
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(named)
    assert "secret" not in str(refusal.value)


def test_loopback_is_not_enough_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch,
        **{**ACME, "EXTERNAL_ACME_ISSUER": "http://127.0.0.1:9000"},
        SERVICE_ENV="production",
        DATABASE_URL="postgresql://a:b@c/d",
        SECRET_KEY="Xq3 a key of ones own 0123456789 zwei",
        SMTP_URL="smtp://mail.example",
        MAIL_FROM="a@b.example",
        PUBLIC_URL="https://b.example",
    )
    with pytest.raises(SettingsError, match="EXTERNAL_ACME_ISSUER: must begin with https://"):
        load_settings()
