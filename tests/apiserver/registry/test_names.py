"""Names: quick patterns say what the documented ones say."""

import itertools
import re

from kubeloop.actors.apiserver.registry import names


def test_subdomains_are_what_the_documented_pattern_says() -> None:
    documented = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
    for length in range(8):
        for characters in itertools.product("a-.A", repeat=length):
            name = "".join(characters)
            assert bool(documented.match(name)) is (names.dns_subdomain.__wrapped__(name) == ()), name
