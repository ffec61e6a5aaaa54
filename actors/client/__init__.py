"""How a process speaks to the API server: Client, informers, the reconcile loop, event recording.

Here lives what every process shares of the client side. What one process decides must not be here, nor may anything
here know a process other than the API server, of which it knows the messages.
"""
