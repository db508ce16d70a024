"""The command ``cellcount serve``."""

from pathlib import Path
from typing import Annotated

import typer

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve_command(
    root: Annotated[Path, typer.Option(help="Folder of projects, results and users.")] = Path(
        "cellcount-service"
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine need a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8321,
    page: Annotated[
        Path | None,
        typer.Option(help="Folder of a static page to serve at / in place of the service's own."),
    ] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy", help="A reverse proxy on this machine speaks HTTPS for the service."
        ),
    ] = False,
    retrain_after: Annotated[
        int, typer.Option(min=2, help="Corrections from Label Studio after which to train again.")
    ] = 10,
    profile: Annotated[str, typer.Option(help="Scale of such a training.")] = "laptop",
    requests: Annotated[
        int, typer.Option(min=1, help="Requests that a user may make in a minute.")
    ] = 1200,
) -> None:
    """Count for a laboratory: upload pictures, watch jobs, fetch results, by HTTP.

    The first start prints an address at which the first admin is made. /docs lists the routes.
    """
    import uvicorn

    from cellcount_lib.errors import InputError
    from cellcount_lib.service.accounts import first_token, has_password
    from cellcount_lib.service.app import create_app
    from cellcount_lib.service.locking import locked
    from cellcount_lib.service.settings import Settings
    from cellcount_lib.service.store import Store

    if page is not None and not (page / "index.html").is_file():
        raise InputError(f"{page}: expected a folder with an index.html")
    store = Store(root)
    with locked(store.root / "service.lock", wait=False):
        if host not in LOOPBACK and not has_password(store):
            raise InputError(
                f"--host {host}: others could reach the service before it has an admin with a "
                "password; start it without --host first, and make one with the token it prints"
            )
        if token := first_token(store):
            typer.echo(
                f"first start: make an admin with this token, which works once: {token}\n"
                f"  http://{host}:{port}/#first={token}"
            )
        settings = Settings(
            root,
            page=page,
            secure=behind_proxy,
            requests_a_minute=requests,
            retrain_after=retrain_after,
            profile=profile,
        )
        uvicorn.run(
            create_app(settings),
            host=host,
            port=port,
            proxy_headers=behind_proxy,
            server_header=False,
            log_level="warning",
            timeout_graceful_shutdown=10,
        )
