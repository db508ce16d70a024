"""The application: its routes, its documentation without a network, its worker."""

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from cellcount_lib.errors import CellcountError
from cellcount_lib.machine import version
from cellcount_lib.service import jobs, labelstudio, people, projects
from cellcount_lib.service.access import Guard, Rates
from cellcount_lib.service.settings import Settings
from cellcount_lib.service.store import Store

PAGE = Path(__file__).with_name("page")  # signs in, uploads, counts, shows results


class Worker:
    """The process that counts, started again whenever it ends."""

    def __init__(self, settings: Settings) -> None:
        arguments = [str(settings.root.absolute()), str(os.getpid()), str(settings.attempts)]
        self.command = [sys.executable, "-m", "cellcount_lib.service.worker", *arguments]
        self.ending = threading.Event()
        self.process = subprocess.Popen(self.command)
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()

    def _watch(self) -> None:
        while not self.ending.wait(0.2):
            if self.process.poll() is not None and not self.ending.wait(1):
                self.process = subprocess.Popen(self.command)

    def end(self) -> None:
        """End it; a job that it works on is taken up at the next start."""
        self.ending.set()
        self.watch.join()
        self.process.kill()
        self.process.wait()


def create_app(settings: Settings, *, counts: bool = True) -> FastAPI:
    """Make the application; without `counts` jobs only wait."""
    store = Store(settings.root)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        for part in (store.root / "uploads").iterdir():
            part.unlink()  # was cut off: no upload is older than this process
        worker = Worker(settings) if counts else None
        yield
        if worker:
            worker.end()

    app = FastAPI(
        title="cellcount",
        version=version("cellcount-book") or "not installed",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.store, app.state.settings, app.state.rates = store, settings, Rates()
    app.add_middleware(Guard, settings=settings)
    for routes in (people, projects, jobs, labelstudio):
        app.include_router(routes.router)

    @app.exception_handler(CellcountError)
    def refused(request: Request, error: CellcountError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, str]:
        """Say that the service answers."""
        store.row("select 1 from users")
        return {"status": "up"}

    assets = files("fastapi_offline") / "static"
    app.mount("/assets", StaticFiles(directory=str(assets)), name="assets")

    @app.get("/docs", include_in_schema=False)
    def documentation(request: Request) -> HTMLResponse:
        """Show the routes, without anything from elsewhere."""
        base = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{base}/openapi.json",
            title="cellcount",
            swagger_js_url=f"{base}/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{base}/assets/swagger-ui.css",
            swagger_favicon_url=f"{base}/assets/favicon.png",
        )

    # after all routes: it takes every other address
    app.mount("/", StaticFiles(directory=settings.page or PAGE, html=True), name="page")
    return app
