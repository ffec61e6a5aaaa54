"""The controller manager: one actor, many controllers that drive what is to what should be.

What lives here: the actor, the `Controller` base that every controller shares (watches, owners, queue, reconcile),
and one file a controller, named after the thing it looks after. Beside a controller stand its decisions: pure functions
that take a snapshot (objects, and the time in unix seconds) and return a plan (frozen Structs); they neither wait, nor
read a clock, nor log.

What must not: any knowledge of how the API server stores or validates, any call to a scheduler, kubelet or proxy. A
controller speaks to the world through `Client` and informers only.
"""
