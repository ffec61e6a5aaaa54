"""Authorization: what a request asks for, the rules of RBAC, the Node authorizer, and the policy a server begins with.

Deciding only: nothing here knows HTTP. Rules are pure functions; the authorizers read the API server's own caches.
"""
