"""Seal a JSON file with its own SHA-256 in the second line, so that changes by a faulty disk are detected."""

import hashlib
import re

_SEAL = re.compile(rb'\{\n  "seal": "(.*?)",', re.DOTALL)


def seal(content: bytes) -> bytes:
    """Insert the second line into an indented JSON object: the digest of the rest of the object."""
    return b'{\n  "seal": "%s",%s' % (_digest(content), content.removeprefix(b"{"))


def is_sealed(content: bytes) -> bool:
    """Tell whether the content has a seal that matches."""
    match = _SEAL.match(content)
    return match is not None and _digest(b"{" + content[match.end() :]) == match[1]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
