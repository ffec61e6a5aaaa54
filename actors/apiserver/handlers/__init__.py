"""What each verb and subresource does. One function a verb: `async (server, call) -> Response`.

No HTTP here, and no kind by name where a field of its registry entry can say it.
"""
