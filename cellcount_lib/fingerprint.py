"""x"""

import hashlib
import json
from typing import Any


def digest(value: Any, *, digits: int = 16) -> str:
    """Return the first hex digits of the SHA-256 of a JSON value, whatever the order of its keys.

    Examples
    --------
    >>> digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
