"""What a page carries within itself: templates, pictures and scripts, as small as is simple."""

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

_COLOURS = 32  # of an embedded picture: as good to the eye, a sixth of the size


def picture(png: bytes) -> str:
    """A picture in few colours, as a data URI."""
    content = BytesIO()
    with Image.open(BytesIO(png)) as image:
        few = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).convert("RGB")
    few.save(content, "WEBP", lossless=True, quality=100, method=4)
    return data_uri("image/webp", content.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """`content` as a URI that holds it."""
    return f"data:{kind};base64,{b64encode(content).decode()}"


def packed(content: str) -> str:
    """`content` for page.js to unpack: compressed by gzip, then Base64; always the same bytes."""
    return b64encode(gzip.compress(content.encode(), mtime=0)).decode()


def nonce(seen: str) -> str:
    """What marks the page's own script: a digest of all that the page was made of, so none of that can hold it."""
    return hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest()[:32]
