"""HTML pages that come through a proxy: their links lead through it again. Pure.

Absolute paths in the attributes that hold a URL get the proxy's path in front; everything else stays byte for byte.
"""

import re
import zlib

URL_ATTRIBUTES: dict[str, frozenset[str]] = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
# comments and the insides of scripts and styles are no markup
TAGS = re.compile(rb"<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>|<([a-zA-Z][a-zA-Z0-9]*)\b[^>]*>", re.S | re.I)
OPENING = re.compile(rb"<([a-zA-Z][a-zA-Z0-9]*)\b[^>]*>", re.S)
ATTRIBUTE = re.compile(rb"""(\s)([a-zA-Z]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")
WINDOW_BITS = {"gzip": 31, "deflate": 15}


def rewrite(body: bytes, encoding: str, prefix: str) -> bytes:
    """The page in the encoding that it came in; as it is when that is not gzip, deflate or none."""
    if not encoding or encoding == "identity":
        return rewritten(body, prefix)
    bits = WINDOW_BITS.get(encoding)
    if bits is None:
        return body
    try:
        page = zlib.decompress(body, bits)
    except zlib.error:
        return body
    compressor = zlib.compressobj(1, zlib.DEFLATED, bits)
    return compressor.compress(rewritten(page, prefix)) + compressor.flush()


def rewritten(page: bytes, prefix: str) -> bytes:
    def tag(found: re.Match[bytes]) -> bytes:
        opening = OPENING.match(found.group())
        if opening is None:
            return found.group()
        names = URL_ATTRIBUTES.get(opening.group(1).decode().lower())
        if names is None:
            return found.group()
        changed = ATTRIBUTE.sub(lambda one: attribute(one, names, prefix), opening.group())
        return changed + found.group()[opening.end() :]

    return TAGS.sub(tag, page)


def attribute(found: re.Match[bytes], names: frozenset[str], prefix: str) -> bytes:
    before, name, equals, value = found.groups()
    if name.decode().lower() not in names:
        return found.group()
    quote = value[:1] if value[:1] in (b'"', b"'") else b""
    text = value[1:-1] if quote else value
    if not text.startswith(b"/") or text.startswith((b"//", prefix.encode())):
        return found.group()
    whole: bytes = before + name + equals + quote + prefix.encode() + text + quote
    return whole
