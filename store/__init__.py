"""etcd's data model, synchronous: revisions, transactions, watches, leases; in memory, and on disk.

What lives here: the key space with its history (`mvcc`, `history`), the transaction engine (`store`), watches (`watch`,
`buffered`), leases (`lease`), the words they are spoken in (`model`, `errors`), the changes that a disk is told
(`changes`), and the disk (`disk`). Values are opaque bytes and time is a number that the caller passes in.

What must not: Kubernetes, actors, asyncio, clocks, threads. The etcd pages followed: "Data model", "API guarantees"
and the v3 API reference.
"""
