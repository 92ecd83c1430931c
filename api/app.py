"""The application, which `python -m api.server` serves."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from socket import gethostname
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from api.auth import ASSETS_PATH, KeyRing
from api.browser_check import BrowserCheck
from api.console import pages as console_pages
from api.dependencies import Services, in_thread
from api.errors import install_error_handlers
from api.job_calls import TRUNCATED_MESSAGES_HEADER
from api.key_limits import RATE_HEADERS, LimitMiddleware
from api.live import Live
from api.metrics import DeploymentMetrics, observe, open_metrics_server
from api.middleware import REQUEST_ID_HEADER, BodyLimit, GuardMiddleware, RequestIdMiddleware
from api.openapi import describe_api
from api.paths import HeadMiddleware, PrefixMiddleware
from api.routes import (
    chat,
    collections,
    completions,
    document_content,
    documents,
    embeddings,
    functions,
    health,
    jobs,
    keys,
    live,
    markdown,
    models,
    pull,
    queue,
    rag,
    rerank,
    session,
    tokens,
    usage,
    watch,
)
from api.schemas.base import ErrorAnswer
from core.public_address import require_keys
from core.release import release
from core.settings import Settings, get_settings
from tasks.jobs.queues import Role

#: The headers that pages of other origins may read.
EXPOSED_HEADERS = (
    REQUEST_ID_HEADER,
    TRUNCATED_MESSAGES_HEADER,
    "location",
    "retry-after",
    "preference-applied",
    *RATE_HEADERS,
)
ROUTERS = (
    health.router,
    models.router,
    chat.router,
    completions.router,
    tokens.router,
    embeddings.router,
    pull.router,
    rerank.router,
    functions.router,
    rag.router,
    documents.router,
    document_content.router,
    collections.router,
    watch.router,
    jobs.router,
    keys.router,
    usage.router,
    session.router,
    markdown.router,
    live.router,
    queue.router,
    console_pages.router,
)


def create_app(settings: Settings | None = None, services: Services | None = None) -> FastAPI:
    """Return the application. It uses the given services, or else opens its own at startup.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    settings = settings or (services.settings if services else get_settings())
    if services is None:
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = FastAPIOffline(
        # The documentation page loads everything from this server and sends the API's description to no validator.
        redoc_url=None,
        # A path with an extra trailing slash is answered 404, like any unknown path.
        redirect_slashes=False,
        static_url=ASSETS_PATH,
        swagger_ui_parameters={"validatorUrl": None},
        title="llm-api",
        version=release(),
        summary="Chat, RAG and embeddings over your own documents, on your own machine.",
        lifespan=_lifespan(settings, services),
        responses={"default": {"model": ErrorAnswer, "description": "An error object in OpenAI's format."}},
    )
    app.state.live = None
    app.state.keys = KeyRing(key.get_secret_value() for key in settings.api_keys)
    install_error_handlers(app)
    _add_middleware(app, settings)
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the middleware, innermost first. CORS is outside the key check, so that browsers can read refusals too."""
    app.add_middleware(LimitMiddleware)
    app.add_middleware(
        GuardMiddleware,
        browser_check=BrowserCheck(settings),
        keys=app.state.keys,
        max_body=BodyLimit(settings.max_body_bytes, "MAX_BODY_BYTES"),
        path_limits={documents.UPLOAD_PATH: BodyLimit(settings.upload_body_bytes, "MAX_UPLOAD_BODY_BYTES")},
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(PrefixMiddleware, settings=settings)
    app.add_middleware(RequestIdMiddleware, observe=observe)


def _lifespan(settings: Settings, services: Services | None) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with nullcontext(services) if services else open_services(settings) as opened:
            app.state.services = opened
            app.state.live = None if opened.changes is None else Live(opened, opened.changes)
            yield
            keys: KeyRing = app.state.keys
            await keys.close()

    return lifespan


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open the catalog, the blob store and the connections to Redis, and close them at the end.

    The imports are inside because SQLAlchemy and Celery take longer to import than the rest of the API.
    """
    from core.blobs import BlobStore
    from core.catalog import Catalog
    from core.usage import UsageMeter
    from tasks.jobs.changes import ChangeStream
    from tasks.jobs.compatibility import require_compatible
    from tasks.jobs.heartbeats import Announcer
    from tasks.jobs.key_limits import KeyLimits
    from tasks.jobs.metric_store import MetricPublisher, MetricStore
    from tasks.jobs.producer import Producer
    from tasks.jobs.sessions import Sessions
    from tasks.jobs.stream import JobStream

    producer = Producer(settings)
    catalog = Catalog.open(settings.catalog_url, producer.changes)
    changes = ChangeStream(settings)
    stream = JobStream(settings, producer)
    limits = KeyLimits(settings)
    usage = UsageMeter(catalog.add_usage)
    sessions = Sessions(settings)
    name = f"api@{gethostname()}:{os.getpid()}"
    publisher = MetricPublisher(MetricStore(producer.records.redis), Role.API, name)
    announcer = Announcer(producer, Role.API, name, lambda: {"pid": os.getpid()}, publisher)
    metrics = DeploymentMetrics(settings, catalog, producer, publisher)
    server = open_metrics_server(settings, metrics)
    try:
        await in_thread(require_compatible, producer)
        await in_thread(catalog.migrate)
        await in_thread(require_keys, settings, catalog.has_keys)
        blobs = await in_thread(BlobStore, settings.blobs_path)
        await stream.start()
        await limits.start()
        announcer.start()
        yield Services(settings, catalog, blobs, stream, producer, limits, usage, sessions, changes, metrics)
    finally:
        if server is not None:
            await in_thread(server.close)
        await in_thread(announcer.withdraw)
        await in_thread(usage.close)
        await changes.close()
        await sessions.close()
        await limits.close()
        await stream.close()
        await in_thread(producer.close)
        await in_thread(catalog.close)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, which is built at the first call."""
    if app.openapi_schema is None:
        app.openapi_schema = describe_api(app)
    return app.openapi_schema
