"""Content negotiation: which representation of an answer a client takes (the "Alternate representations" section)."""

from functools import lru_cache

import msgspec

from kubeloop.actors.api import errors

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ALIASES = {"*/*": JSON, "application/*": JSON, "text/yaml": YAML, "application/x-yaml": YAML}
TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
META_VERSIONS = ("v1", "v1beta1")
AVAILABLE = (JSON, YAML, PROTOBUF)
WATCHABLE = (*AVAILABLE, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")


class Representation(msgspec.Struct, frozen=True):
    """`as_`: Table, PartialObjectMetadata(List) or "" for the object itself, in meta.k8s.io's `version`."""

    media_type: str = JSON
    as_: str = ""
    version: str = "v1"
    stream: bool = False

    @property
    def plain(self) -> bool:
        return self.media_type == JSON and not self.as_


PLAIN = Representation()


@lru_cache(1024)
def negotiate(accept: str, *, watchable: bool = False) -> Representation:
    """The first clause that can be answered, the highest quality first. Raises 406 when none can."""
    if not accept.strip():
        return PLAIN
    clauses = []
    for order, text in enumerate(accept.split(",")):
        media, parameters = parse_clause(text)
        clauses.append((-quality(parameters.get("q", "1")), order, media, parameters))
    known = False
    for negative_quality, _, media, parameters in sorted(clauses, key=lambda clause: clause[:2]):
        media = ALIASES.get(media, media)
        if negative_quality == 0:
            continue
        if media == PROTOBUF:
            continue
        if media not in (JSON, YAML):
            continue
        known = True
        as_ = parameters.get("as", "")
        if as_ and (
            as_ not in TRANSFORMS or parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in META_VERSIONS
        ):
            continue
        return Representation(
            media, as_, parameters.get("v", "v1") if as_ else "v1", parameters.get("stream") == "watch"
        )
    raise not_acceptable(known, watchable)


def not_acceptable(known: bool, watchable: bool) -> errors.StatusError:
    listed = ", ".join(WATCHABLE if watchable else AVAILABLE)
    if known:
        return errors.not_acceptable(f"only the following media types are accepted: {', '.join(AVAILABLE)}")
    text = f"406: Not Acceptable\n\nAvailable representations: {listed}"
    return errors.failure(406, "NotAcceptable", text, {})


def parse_clause(text: str) -> tuple[str, dict[str, str]]:
    media, *rest = (part.strip() for part in text.split(";"))
    parameters = {}
    for part in rest:
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    return media.lower(), parameters


def quality(text: str) -> float:
    try:
        return max(0.0, min(1.0, float(text)))
    except ValueError:
        return 0.0
