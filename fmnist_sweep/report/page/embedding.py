"""Content embedded in a page: templates, and pictures and scripts encoded as compact text."""

import gzip
import hashlib
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import jinja2
from PIL import Image

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_COLOURS = 32  # in an embedded picture: it looks as good at a sixth of the size


def picture(png: bytes) -> str:
    """Reduce a PNG to few colours and return it as a data URI."""
    content = BytesIO()
    with Image.open(BytesIO(png)) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    few.save(content, "WEBP", lossless=True, quality=100, method=4)
    return data_uri("image/webp", content.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Return `content` as a data URI; `kind` is its MIME type."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def packed(content: str) -> str:
    """Compress `content` with gzip and encode it as Base64, for page.js to unpack. Equal texts give equal bytes."""
    return b64encode(gzip.compress(content.encode(), mtime=0)).decode()


def nonce(seen: str) -> str:
    """Return the nonce of the page's own script.

    The nonce is a digest of `seen`, the text that the page was made from, so that text cannot contain the nonce.
    """
    return hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()[:32]
