"""The application factory: a table of contents."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Final

from service import measures
from service.accounts.recovery.page_routes import blueprint as pages_blueprint
from service.accounts.recovery.routes import blueprint as recovery_blueprint
from service.accounts.routes import blueprint as accounts_blueprint
from service.admin.event_routes import blueprint as admin_events_blueprint
from service.admin.post_routes import blueprint as admin_posts_blueprint
from service.admin.user_routes import blueprint as admin_users_blueprint
from service.auth import principal
from service.auth.csrf import CsrfTokens
from service.auth.passwords import Passwords
from service.auth.routes import blueprint as auth_blueprint
from service.auth.routes import keys_blueprint
from service.auth.tokens import Tokens
from service.db.database import Database
from service.db.engine import connection_factory
from service.observability import tracing
from service.posts import routes as posts_routes
from service.posts.routes import blueprint as posts_blueprint
from service.settings import Settings, load_settings
from service.web import cors, db_session, errors, limiter, metrics, openapi, ratelimit
from service.web.converters import IdConverter
from service.web.docs.routes import blueprint as docs_blueprint
from service.web.health import blueprint as health_blueprint
from service.web.metrics import blueprint as metrics_blueprint
from service.web.server import shutdown
from service.web.server.application import Service

BLUEPRINTS: Final = (
    accounts_blueprint,
    recovery_blueprint,
    pages_blueprint,
    auth_blueprint,
    keys_blueprint,
    posts_blueprint,
    admin_users_blueprint,
    admin_posts_blueprint,
    admin_events_blueprint,
    health_blueprint,
    metrics_blueprint,
    docs_blueprint,
)

# Objects that come before the collector looks for cycles; what is in use by hundreds of requests
# at once is several times its default.
COLLECTED_EVERY: Final = 10_000


def create_app(settings: Settings | None = None) -> Service:
    """Make the application. Raises SettingsError when it is misconfigured."""
    settings = settings or load_settings()
    tracing.start(settings)
    app = Service("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    # A body that is being sent has no time limit of its own; one task less per request.
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.converters["id"] = IdConverter
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["settings"] = settings
    database = Database(settings)

    errors.init_app(app)
    db_session.init_app(app, database)
    metrics.init_app(app, database)
    shutdown.init_app(app)
    posts_routes.init_app(app, connection_factory(settings), pgbouncer=settings.database_pgbouncer)
    principal.init_app(app, Tokens(settings), CsrfTokens(settings))
    ratelimit.init_app(app, limiter.Limiter(settings), principal.user_key)
    openapi.init_app(app)
    measures.add_gauge(metrics.metrics(app), app.extensions)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    cors.init_app(app, settings.cors_origins)

    @app.while_serving
    async def resources() -> AsyncGenerator[None, None]:
        app.extensions["passwords"] = Passwords()
        # What start-up made lives as long as the process, and requests leave hardly a cycle
        # (tests/web/test_memory.py): the collector need not look at the one, nor often.
        gc.freeze()
        gc.set_threshold(COLLECTED_EVERY)
        yield
        app.extensions["passwords"].close()
        await database.close()
        await asyncio.to_thread(tracing.stop)

    return app
