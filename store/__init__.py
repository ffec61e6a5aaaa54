"""etcd's data model, synchronous, in memory: revisions, transactions, watches, leases.

What lives here: the key space with its history (`mvcc`), the transaction engine (`store`), watches (`watch`,
`buffered`), leases (`lease`), the words they are spoken in (`model`, `errors`), and the hook through which a log on
disk is written (`journal`). Values are opaque bytes and time is a number that the caller passes in.

What must not: Kubernetes, actors, asyncio, clocks, threads. The etcd pages followed: "Data model", "API guarantees"
and the v3 API reference.
"""
