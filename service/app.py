"""The application factory: a table of contents."""

import gc
from collections.abc import AsyncGenerator
from typing import Final

from quart import Quart
from quart.sessions import SessionInterface

from service.accounts.routes import blueprint as accounts_blueprint
from service.auth import principal
from service.auth.passwords import Passwords
from service.auth.routes import blueprint as auth_blueprint
from service.auth.routes import keys_blueprint
from service.auth.tokens import Tokens
from service.database import Database
from service.posts.routes import blueprint as posts_blueprint
from service.settings import Settings, load_settings
from service.web import errors, openapi, requestid, shutdown, transaction
from service.web.asgi import HTTPConnection, NoCookieSessions
from service.web.converters import IdConverter
from service.web.docs.routes import blueprint as docs_blueprint
from service.web.health import blueprint as health_blueprint
from service.web.request import ApiRequest

BLUEPRINTS: Final = (
    accounts_blueprint,
    auth_blueprint,
    keys_blueprint,
    posts_blueprint,
    health_blueprint,
    docs_blueprint,
)


class Service(Quart):
    """Quart with this service's request, without its session cookies."""

    request_class = ApiRequest
    asgi_http_class = HTTPConnection
    session_interface: SessionInterface = NoCookieSessions()  # type: ignore[assignment]


def create_app(settings: Settings | None = None) -> Service:
    """Make the application. Raises SettingsError when it is misconfigured."""
    settings = settings or load_settings()
    app = Service("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    # A body that is being sent has no time limit of its own; one task less per request.
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.converters["id"] = IdConverter
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["settings"] = settings

    requestid.init_app(app)
    errors.init_app(app)
    transaction.init_app(app, Database(settings))
    shutdown.init_app(app, settings.database_pool_timeout + settings.database_statement_timeout)
    principal.init_app(app, Tokens(settings))
    openapi.init_app(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)

    @app.while_serving
    async def resources() -> AsyncGenerator[None, None]:
        app.extensions["passwords"] = Passwords()
        # What start-up made lives as long as the process: the collector need not look at it.
        gc.freeze()
        yield
        app.extensions["passwords"].close()
        await transaction.database().close()

    return app
