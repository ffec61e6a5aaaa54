"""Lists by page and by version, as the API concepts page tables them."""

from typing import Any

import pytest

from kubeloop.actors.api.errors import StatusError
from tests.apiserver.conftest import Server


async def filled(server: Server, count: int = 5) -> str:
    """A namespace with that many config maps; the revision of the last."""
    await server.call("create", "namespaces", body={"metadata": {"name": "n"}}, namespace="")
    made: Any = None
    for index in range(count):
        made = await server.call("create", "configmaps", body={"metadata": {"name": f"m{index}"}}, namespace="n")
    return str(made.metadata.resource_version)


def names(listing: Any) -> list[str]:
    return [one.metadata.name for one in listing.items]


async def test_every_page_says_how_many_are_left_also_when_more_were_made_since(server: Server) -> None:
    revision = await filled(server)
    first = await server.call("list", "configmaps", namespace="n", limit="2")
    assert (names(first), first.remaining_item_count) == (["m0", "m1"], 3)
    await server.call("create", "configmaps", body={"metadata": {"name": "m9"}}, namespace="n")
    second = await server.call("list", "configmaps", namespace="n", limit="2", continue_=first.continue_)
    assert (names(second), second.remaining_item_count, second.resource_version) == (["m2", "m3"], 1, revision)
    last = await server.call("list", "configmaps", namespace="n", limit="2", continue_=second.continue_)
    assert (names(last), last.remaining_item_count, last.continue_) == (["m4"], None, "")


async def test_nobody_counts_what_a_selector_selects(server: Server) -> None:
    await filled(server)
    page = await server.call("list", "configmaps", namespace="n", limit="1", fieldSelector="metadata.name!=m0")
    assert (names(page), page.remaining_item_count, bool(page.continue_)) == (["m1"], None, True)


@pytest.mark.parametrize(
    ("match", "limit", "version", "found"),
    [
        ("", "", "", 6),  # most recent
        ("", "", "0", 6),  # any
        ("", "", "REVISION", 6),  # not older than
        ("", "2", "", 2),
        ("", "2", "0", 6),  # caches do not page
        ("", "2", "REVISION", 2),  # exact
        ("Exact", "", "REVISION", 5),
        ("Exact", "9", "REVISION", 5),
        ("NotOlderThan", "", "REVISION", 6),
        ("NotOlderThan", "", "0", 6),
        ("NotOlderThan", "9", "REVISION", 6),
    ],
)
async def test_versions_and_how_they_match(server: Server, match: str, limit: str, version: str, found: int) -> None:
    revision = await filled(server)
    await server.call("create", "configmaps", body={"metadata": {"name": "m9"}}, namespace="n")
    given = {"resourceVersionMatch": match, "limit": limit, "resourceVersion": version.replace("REVISION", revision)}
    options = {name: value for name, value in given.items() if value}
    listing = await server.call("list", "configmaps", namespace="n", **options)
    assert len(listing.items) == found
    if version == "REVISION" and (match == "Exact" or (not match and limit)):
        assert listing.resource_version == revision


@pytest.mark.parametrize("match", ["Exact", "NotOlderThan", ""])
async def test_a_version_that_is_still_to_come_is_refused(server: Server, match: str) -> None:
    options = {"resourceVersionMatch": match} if match else {}
    with pytest.raises(StatusError) as refused:
        await server.call("list", "configmaps", resourceVersion="99999999", **options)
    assert (refused.value.code, refused.value.reason) == (504, "Timeout")
