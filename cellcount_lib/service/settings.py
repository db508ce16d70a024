"""What a service allows; every limit has a name."""

from dataclasses import dataclass
from pathlib import Path

MB = 2**20


@dataclass(frozen=True)
class Settings:
    """Where a service keeps its things, and its limits."""

    root: Path
    page: Path | None = None  # static files at / in place of the service's own
    secure: bool = False  # cookies only over HTTPS, as behind a reverse proxy
    body_bytes: int = MB  # of a request that is no picture
    annotation_bytes: int = 64 * MB  # of what Label Studio sends
    picture_bytes: int = 1024 * MB
    pictures: int = 10_000  # of a project
    project_bytes: int = 100 * 1024 * MB
    projects: int = 1_000
    waiting: int = 100  # jobs that are not done
    requests_a_minute: int = 1_200  # of a user
    logins_a_minute: int = 10  # of an address
    session_hours: int = 12
    retrain_after: int = 10  # corrected pictures that are new
    profile: str = "laptop"  # the scale of such a training
    attempts: int = 5  # of a job that gets no further: its process ended so often
