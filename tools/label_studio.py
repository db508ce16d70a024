"""Label Studio on this machine, as a project of `cellcount serve` needs it.

    python -m tools.label_studio FOLDER [--port 8080]

Installs it (a gigabyte) into an environment of its own, `.make/label-studio` or what the variable
CELLCOUNT_LABEL_STUDIO names, unless it is there; starts it with its data in FOLDER. It listens on
this machine only and reports nothing to anybody. It may speak to a backend on this machine, which
it refuses otherwise.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = Path(__file__).with_suffix(".txt")
HOST = "127.0.0.1"

SETTINGS = {
    # nothing is sent to its makers, and nobody is asked for a newer version
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "FEATURE_FLAGS_OFFLINE": "true",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    # by default it calls neither backends nor webhooks on its own machine or network
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    # seconds that a webhook may take; by default 1
    "WEBHOOK_TIMEOUT": "30",
    # accounts are for whoever has the link
    "DISABLE_SIGNUP_WITHOUT_LINK": "true",
}


def place() -> Path:
    """Return the folder of the environment."""
    named = os.environ.get("CELLCOUNT_LABEL_STUDIO")
    return Path(named) if named else ROOT / ".make" / "label-studio"


def installed() -> Path:
    """Return the command of Label Studio; install it if these versions are not there."""
    folder = place()
    whole = folder / "versions.txt"  # comes last: an installation that was cut off is made again
    if not whole.exists() or whole.read_text() != VERSIONS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        versions = ["--disable-pip-version-check", "-c", str(VERSIONS)]
        subprocess.run([*pip, *versions, "label-studio"], check=True)
        whole.write_text(VERSIONS.read_text())
    return folder / "bin" / "label-studio"


def start(
    folder: Path,
    port: int,
    *,
    user: tuple[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    log: IO[str] | None = None,
) -> subprocess.Popen[str]:
    """Start Label Studio; `user` is the first one, by address and password."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(installed()), "start", "--no-browser", "--data-dir", str(folder)]
    command += ["--internal-host", HOST, "--port", str(port)]
    if user is not None:
        command += ["--username", user[0], "--password", user[1]]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= SETTINGS | {"HOME": str(folder)} | (more or {})
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    with start(given.folder, given.port) as server:
        try:
            sys.exit(server.wait())
        except KeyboardInterrupt:
            server.terminate()


if __name__ == "__main__":
    main()
