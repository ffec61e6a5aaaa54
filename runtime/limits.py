"""Every limit of the machine, in the unit that its name ends in."""

MAILBOX_MESSAGES_MAX = 10_000
DRAIN_MESSAGES_MAX = 1_000  # handled in a row before other tasks get their turn
STOP_GRACE_SECONDS = 30.0  # for the message in hand and for on_stop, each, at a graceful stop
LOST_MESSAGE_SECONDS = 30.0  # an ask whose message the network lost fails after this, unless its own timeout is shorter
THREAD_GRACE_SECONDS = 5.0  # of real time that virtual time waits for other threads before it reports a deadlock

RESTARTS_MAX = 10
RESTART_WINDOW_SECONDS = 300.0
RESTART_INITIAL_SECONDS = 0.1
RESTART_MAX_SECONDS = 30.0

PIPE_BYTES_MAX = 256 * 1024  # that wait in one direction of a stream; a writer waits then
PIPE_READ_BYTES_MAX = 64 * 1024  # of one read
