"""get and list, with the semantics of the API concepts page ("Resource versions", "Retrieving large results sets")."""

from itertools import islice

from kubeloop.actors.api.errors import StatusError, bad_request, expired, not_found
from kubeloop.actors.apiserver import continue_token, freshness
from kubeloop.actors.apiserver.answers import EntryListing, EntryResponse
from kubeloop.actors.apiserver.call import Call, NeedsCache
from kubeloop.actors.apiserver.messages import Response
from kubeloop.actors.apiserver.options import ListOptions, list_options, resource_version
from kubeloop.actors.apiserver.selection import Selection, selection
from kubeloop.actors.apiserver.watch_cache import Entry
from kubeloop.actors.etcd.messages import CompactedError, prefix_range_end

CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
LIST_EXPIRED = "The resourceVersion for the provided list is too old."


async def get(call: Call) -> Response:
    return answer(call, find(call))


def answer(call: Call, entry: Entry, code: int = 200) -> Response:
    """The object of an entry as this route's version shows it."""
    convert = call.route.from_storage
    if convert is not None:
        return Response(code, convert(entry.object), call.warnings)
    return EntryResponse(code, entry.object, call.warnings, entry)


def find(call: Call) -> Entry:
    """Raises 404 in the resource's words."""
    entry = call.store.cache.entries.get(call.key)
    if entry is None:
        if not call.store.loaded:
            raise NeedsCache(call.store)
        raise missing(call)
    return entry


def missing(call: Call) -> StatusError:
    return not_found(call.route.resource.plural, call.name, call.route.resource.group)


async def list_(call: Call) -> Response:
    options = list_options(call.request.options)
    wanted = selection(call.route, call.namespace, options)
    if options.continue_:
        revision, after = continue_token.decode(options.continue_)
        if resource_version(options.resource_version):
            raise bad_request("specifying resource version is not allowed when using continue")
    else:
        revision, after = snapshot_revision(options), ""
    cache = call.store.cache
    if revision <= 0:
        revision = await freshness.refresh(call.store, options.resource_version, namespace=call.namespace)
        exact = True
    else:
        await freshness.check_exists(call.store, revision)
        exact = cache.revision <= revision <= freshness.known_revision(call.store)
    remaining = None
    if not exact:
        entries, more, remaining = await past(call, wanted, options, revision, after)
    else:
        limit = 0 if options.resource_version == "0" else options.limit  # "any" version: all of it, as caches have it
        entries, more = present(call, wanted, limit, after)
        if more and not wanted.selective:
            remaining = cache.count(call.namespace, entries[-1].key)
    token = continue_token.encode(revision, entries[-1].key) if more else ""
    convert = call.route.from_storage
    items = [entry.object if convert is None else convert(entry.object) for entry in entries]
    listing = EntryListing(
        items,
        str(revision),
        token,
        remaining,
        entries if convert is None else (),
        call.route.resource.kind,
        call.route.api_version,
    )
    return Response(200, listing, call.warnings)


def snapshot_revision(options: ListOptions) -> int:
    """The revision that must be shown exactly; 0: whatever is there now."""
    wanted = resource_version(options.resource_version)
    match = options.resource_version_match
    if match == "Exact" or (not match and options.limit > 0):
        return wanted
    return 0


def present(call: Call, wanted: Selection, limit: int, after: str) -> tuple[list[Entry], bool]:
    """(entries, whether there are more)."""
    cache = call.store.cache
    if wanted.key:
        entry = cache.entries.get(wanted.key)
        hit = entry is not None and wanted.key > after and (wanted.matches is None or wanted.matches(entry))
        return ([entry] if hit and entry is not None else []), False
    found = cache.select(wanted.namespace, after, wanted.index_value)
    if wanted.matches is not None:
        found = filter(wanted.matches, found)
    if limit <= 0:
        return list(found), False
    entries = list(islice(found, limit + 1))
    return entries[:limit], len(entries) > limit


async def past(
    call: Call, wanted: Selection, options: ListOptions, revision: int, after: str
) -> tuple[list[Entry], bool, int | None]:
    """(entries, whether there are more, how many) as it was at `revision`, from the store's history.

    Raises 410 when that is compacted. Nobody knows how many there are that a selector selects.
    """
    store = call.store
    prefix = store.prefix + (f"{wanted.namespace}/" if wanted.namespace else "")
    start = (store.prefix + after + "\0").encode() if after else prefix.encode()
    end = prefix_range_end(prefix.encode())
    entries: list[Entry] = []
    limit = options.limit
    try:
        while True:
            found = await store.storage.kv.range(start, end, revision=revision, limit=limit + 1 if limit else 0)
            for kv in found.kvs:
                entry = store.cache.entries.get(kv.key[len(store.prefix_bytes) :].decode())
                if entry is None or entry.revision != kv.mod_revision:
                    entry = store.decode_entry(kv.key, kv.value, kv.mod_revision)
                if wanted.matches is None or wanted.matches(entry):
                    if limit and len(entries) == limit:
                        return entries, True, None if wanted.selective else found.count - limit
                    entries.append(entry)
            if not found.more or not found.kvs:
                return entries, False, None
            start = found.kvs[-1].key + b"\0"
    except CompactedError:
        raise list_expired(call, options, after) from None


def list_expired(call: Call, options: ListOptions, after: str) -> StatusError:
    if not options.continue_:
        return expired(LIST_EXPIRED)
    error = expired(CONTINUE_EXPIRED)
    error.status["metadata"] = {"continue": continue_token.encode(-1, after)}
    return error
