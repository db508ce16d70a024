"""A service that runs in a process of its own, as a person starts it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

NAME, PASSWORD = "ada", "correct horse"


class Running:
    """`cellcount serve` in a folder; unless a test does it, its first admin is made."""

    def __init__(self, root: Path, *options: str, admin: bool = True) -> None:
        self.root, self.options, self.admin = root, options, admin
        self.token = None
        self.start()

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = self.root.parent / f"log-{self.port}.txt"
        command = [sys.executable, "-m", "cellcount_lib", "serve", "--root", str(self.root)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), "--requests", "100000", *self.options],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.client.get("/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        if self.token is None and self.admin:
            (first,) = re.findall(r"works once: (\S+)", self.log.read_text())
            given = {"token": first, "name": NAME, "password": PASSWORD}
            assert self.client.post("/api/setup", json=given).status_code == 201
            assert self.client.post("/api/setup", json=given).status_code == 403  # once
            said = self.client.post("/api/login", json={"name": NAME, "password": PASSWORD})
            csrf = {"X-CSRF-Token": said.json()["csrf"]}
            self.token = self.client.post("/api/me/tokens", json={}, headers=csrf).json()["token"]
        if self.token is None:
            return
        self.client.cookies.clear()
        self.client.headers["Authorization"] = f"Bearer {self.token}"

    def kill(self) -> None:
        """As a power cut does to the process."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.client.close()

    def stop(self) -> None:
        """End it gently; uvicorn passes the signal on when it has finished."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == -signal.SIGTERM, self.log.read_text()

    def worker(self) -> int | None:
        """The process that counts."""
        import psutil

        found = psutil.Process(self.process.pid).children()
        return found[0].pid if found else None

    def until_done(self, job: int, seconds: float = 120) -> dict:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = self.client.get(f"/api/jobs/{job}").json()
            if said["state"] not in ("queued", "running"):
                return said
            time.sleep(0.1)
        raise AssertionError(f"job {job} is not done: {said}; {self.log.read_text()}")
