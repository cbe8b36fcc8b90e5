"""The application's external providers."""

from service.auth.external.providers import Providers
from service.web.request_state import request_state
from service.web.server.application import Service


def providers() -> Providers:
    """Return the application's external providers, in a request."""
    return request_state().app.component(Providers)


def init_app(app: Service) -> None:
    """Add the external providers to an application, and what is counted of their calls."""
    made = Providers(app.settings)
    app.add_component(made)
    labels = ("provider", "outcome")
    app.metrics.add_counter(
        "external_calls", "Calls of external providers.", labels, lambda: made.calls.ended
    )
    app.metrics.add_counter(
        "external_call_seconds",
        "Seconds that calls of external providers took.",
        labels,
        lambda: made.calls.seconds,
    )

    @app.after_serving
    async def close_client() -> None:
        await made.calls.close()
