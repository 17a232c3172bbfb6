"""A JSON file with its own SHA-256 in its second line, so that what a disk has changed in it is not believed."""

import hashlib
import re

_SEAL = re.compile(rb'\{\n  "seal": "(.*?)",', re.DOTALL)


def seal(content: bytes) -> bytes:
    """Add the second line to an indented JSON object: the digest of all that stands besides it."""
    return b'{\n  "seal": "%s",%s' % (_digest(content), content.removeprefix(b"{"))


def is_sealed(content: bytes) -> bool:
    """Whether there is such a line and it agrees."""
    match = _SEAL.match(content)
    return match is not None and _digest(b"{" + content[match.end() :]) == match[1]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
