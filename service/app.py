"""The application factory."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from typing import Final

from service.accounts.recovery.page_routes import blueprint as pages_blueprint
from service.accounts.recovery.routes import blueprint as recovery_blueprint
from service.accounts.routes import blueprint as accounts_blueprint
from service.admin.event_routes import blueprint as admin_events_blueprint
from service.admin.job_routes import blueprint as admin_jobs_blueprint
from service.admin.post_routes import blueprint as admin_posts_blueprint
from service.admin.status_routes import blueprint as admin_status_blueprint
from service.admin.user_routes import blueprint as admin_users_blueprint
from service.auth import principal, sign_in_metrics
from service.auth.api_keys import principal as key_principal
from service.auth.api_keys.routes import blueprint as api_keys_blueprint
from service.auth.encryption import component as encryption
from service.auth.external import component as external
from service.auth.external.page_routes import blueprint as external_pages_blueprint
from service.auth.external.routes import blueprint as external_blueprint
from service.auth.passkeys import component as passkeys
from service.auth.passkeys.login_routes import blueprint as passkey_login_blueprint
from service.auth.passkeys.related_routes import blueprint as related_origins_blueprint
from service.auth.passkeys.routes import blueprint as passkeys_blueprint
from service.auth.passkeys.second_factor_routes import blueprint as passkey_factor_blueprint
from service.auth.routes import blueprint as auth_blueprint
from service.auth.routes import keys_blueprint
from service.auth.second_factor.login_routes import blueprint as second_factor_login_blueprint
from service.auth.second_factor.routes import blueprint as second_factor_blueprint
from service.auth.step_up_routes import blueprint as step_up_blueprint
from service.db import statistics
from service.jobs import queue
from service.observability import tracing
from service.posts import routes as posts_routes
from service.posts.routes import blueprint as posts_blueprint
from service.settings import Settings, load_settings
from service.web import cors, db_session, errors, openapi, ratelimit, replica, responses
from service.web.console.routes import blueprint as console_blueprint
from service.web.converters import IdConverter, NumberConverter
from service.web.docs.routes import blueprint as docs_blueprint
from service.web.health import blueprint as health_blueprint
from service.web.metrics import blueprint as metrics_blueprint
from service.web.server import host
from service.web.server.application import Service
from service.worker import handlers

BLUEPRINTS: Final = (
    accounts_blueprint, recovery_blueprint, pages_blueprint, auth_blueprint, keys_blueprint,
    second_factor_blueprint, second_factor_login_blueprint, step_up_blueprint, api_keys_blueprint,
    external_blueprint, external_pages_blueprint,
    passkeys_blueprint, passkey_login_blueprint, passkey_factor_blueprint,
    related_origins_blueprint,
    posts_blueprint, admin_users_blueprint, admin_posts_blueprint, admin_events_blueprint,
    admin_jobs_blueprint, admin_status_blueprint,
    health_blueprint, metrics_blueprint, docs_blueprint,
    console_blueprint,
)  # fmt: skip

# New objects before the garbage collector runs. Hundreds of requests at once hold several times its
# default.
GC_THRESHOLD: Final = 10_000


def create_app(settings: Settings | None = None) -> Service:
    """Return the application. Raises SettingsError when the configuration is wrong."""
    settings = settings or load_settings()
    tracing.start(settings)
    app = Service(settings)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_content_length
    # No time limit for sending a body, which would cost a task per request.
    app.config["RESPONSE_TIMEOUT"] = None
    app.url_map.converters |= {"id": IdConverter, "number": NumberConverter}
    # One spelling for each path, so that a proxy's rule about a path holds for all of it.
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False

    host.init_app(app)
    errors.init_app(app)
    responses.init_app(app)
    db_session.init_app(app)
    app.database.register_metrics(app.metrics)
    statistics.register_metrics(app.metrics, app.database)
    replica.init_app(app)
    queue.register_metrics(app.metrics, app.database, handlers.MAILS)
    posts_routes.init_app(app)
    parts = (principal, sign_in_metrics, encryption, key_principal, passkeys, external)
    for part in parts:
        part.init_app(app)
    ratelimit.init_app(app, principal.user_key)
    openapi.init_app(app, settings.public_url)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    cors.init_app(app, settings.cors_origins)
    _add_lifetime(app)
    return app


def _add_lifetime(app: Service) -> None:
    """Add what begins when the application serves, and what ends after it."""

    @app.while_serving
    async def resources() -> AsyncGenerator[None, None]:
        # Objects from the start live as long as the process, and requests leave hardly a cycle
        # (tests/web/server/test_memory.py), so the collector may skip the former and run rarely.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        async with app.process_metrics.running():
            yield
        app.shutdown_state.begin()

    @app.after_serving
    async def close() -> None:
        await app.metrics.close()
        await app.database.close()
        await asyncio.to_thread(tracing.stop)
