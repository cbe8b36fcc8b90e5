"""nginx and Apache in front of the service, as Debian packages them, each with a client."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.polling import PATIENCE
from tests.support.processes import free_port
from tests.support.proxies import DEPLOY, configured, make_certificate, program, running

NOTHING_LISTENS = 9  # discard


@asynccontextmanager
async def nginx(folder: Path, upstream: int) -> AsyncIterator[httpx.AsyncClient]:
    """deploy/nginx.conf, with ports, certificate and folders of this test; yields a client."""
    secure, plain = free_port(), free_port()
    certificate = make_certificate(folder)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = {
        "user ": [f"user {getpass.getuser()};"],
        "pid ": [f"pid {folder}/nginx.pid;"],
        "access_log ": [
            "access_log off;",
            *(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
        ],
        "server 127.0.0.1:8001 ": [f"server 127.0.0.1:{upstream} fail_timeout=1s;"],
        "server 127.0.0.1:8002 ": [f"server 127.0.0.1:{NOTHING_LISTENS} fail_timeout=1s;"],
        "listen 80": [f"listen 127.0.0.1:{plain};"],
        "listen 443 ": [f"listen 127.0.0.1:{secure} ssl http2;"],
        "ssl_certificate ": [f"ssl_certificate {certificate.chain};"],
        "ssl_certificate_key ": [f"ssl_certificate_key {certificate.key};"],
    }
    config = folder / "nginx.conf"
    config.write_text(configured((DEPLOY / "nginx.conf").read_text(), own))
    command = (program("nginx"), "-c", str(config), "-g", "daemon off;")
    async with (
        running(*command, port=secure),
        httpx.AsyncClient(
            http2=True,
            verify=certificate.context(),
            base_url=f"https://localhost:{secure}",
            timeout=PATIENCE,
        ) as client,
    ):
        yield client


APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
{modules}
ProxyPass / http://127.0.0.1:{upstream}/
AddOutputFilterByType DEFLATE application/json
"""
MODULES = ("mpm_event", "authz_core", "filter", "deflate", "proxy", "proxy_http")


@asynccontextmanager
async def apache(folder: Path, upstream: int) -> AsyncIterator[httpx.AsyncClient]:
    """Apache, which compresses by mod_deflate as Debian sets it up; yields a client."""
    port = free_port()
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in MODULES
    )
    config = folder / "apache.conf"
    config.write_text(APACHE.format(folder=folder, port=port, modules=modules, upstream=upstream))
    command = (program("apache2"), "-f", str(config), "-DFOREGROUND")
    async with (
        running(*command, port=port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        yield client


CACHE = """
daemon off;
pid {folder}/cache.pid;
error_log {folder}/cache.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/cache_body;
    proxy_cache_path {folder}/cache keys_zone=posts:1m use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_cache posts;
            proxy_cache_revalidate on;
            # Where the service says nothing.
            proxy_cache_valid any 10m;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"""


@asynccontextmanager
async def cache(folder: Path, upstream: int) -> AsyncIterator[httpx.AsyncClient]:
    """nginx as a shared cache that keeps everything it may keep; yields a client."""
    port = free_port()
    config = folder / "cache.conf"
    config.write_text(CACHE.format(folder=folder, port=port, upstream=upstream))
    command = (program("nginx"), "-c", str(config), "-g", f"user {getpass.getuser()};")
    async with (
        running(*command, port=port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        yield client
