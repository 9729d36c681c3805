"""The page to try a codec and a prior is served: to this machine alone, unless told otherwise."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from vqaudio.applications.studio import Studio
from vqaudio.errors import UserError
from vqaudio.evaluation.demo import SENTENCE
from vqaudio.evaluation.report import PALETTE, PARTS_STYLE

UPLOAD_BYTES = 20 << 20
FONTS = ["system-ui", "Segoe UI", "Helvetica Neue", "DejaVu Sans", "sans-serif"]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket to serve the page on.

    Args:
        host: name or address of this machine.
        port: 0 for any that is free.

    Raises:
        UserError: it is not to be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{host}:{port}: cannot be listened on ({reason}); choose another --host or --port"
        ) from None
    with bound:
        yield bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ip_address(bound.getsockname()[0]).is_loopback


@contextmanager
def web_app(studio: Studio, title: str, bound: socket.socket) -> Iterator[Any]:
    """The page as a web application, with a folder for what is uploaded that goes when it does.

    Nothing is told to anybody, and nothing fetched: neither by this process nor by the browser.

    Args:
        studio: what is to be tried.
        title: the models by name.
        bound: where it will be served.

    Raises:
        UserError: gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="vqaudio-web-") as folder:
        # read as gradio is imported
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import gradio
            from fastapi import FastAPI
            from starlette.middleware.trustedhost import TrustedHostMiddleware
        except ImportError as error:
            raise UserError(f'{error.name}: not installed; pip install "vqaudio[web]"') from None
        from vqaudio.applications.web_page import STYLE, build_page

        app = FastAPI()
        if is_loopback(bound):  # a page elsewhere must not reach this one under a name of its own
            app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]"])
        host, port = bound.getsockname()[:2]
        gradio.mount_gradio_app(
            app,
            build_page(studio, title),
            path="/",
            server_name=host,
            server_port=port,
            show_error=False,
            footer_links=[],
            max_file_size=UPLOAD_BYTES,
            allowed_paths=[str(SENTENCE)],
            ssr_mode=False,
            enable_monitoring=False,
            theme=gradio.themes.Base(
                primary_hue="sky", neutral_hue="slate", font=FONTS, font_mono=["monospace"]
            ),
            head=f"<style>{PALETTE}</style>",  # gradio mends other styles, and loses the dark ones
            css=PARTS_STYLE + STYLE,
        )
        yield app


def serve(app: Any, bound: socket.socket) -> None:
    """Serve until the process is interrupted."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[bound])
