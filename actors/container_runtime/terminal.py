"""A pseudo-terminal for a process: its master side, read and written without blocking the loop. Linux and macOS.

The process gets the slave side as stdin, stdout and stderr, in a session of its own whose terminal it is, so that
Ctrl-C, job control and changes of the size reach it. Modules that Windows does not have are imported at their use.
"""

import asyncio
import errno
import os
import struct
from collections.abc import Callable

READ_BYTES_MAX = 64 * 1024
END_OF_TRANSMISSION = b"\x04"  # what Ctrl-D sends: the end of input to whoever reads lines


class Terminal:
    """on_output(data): answers False to make it stop reading until `resume`. on_end(): all processes have left it."""

    def __init__(self, on_output: Callable[[bytes], bool], on_end: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_end = on_end
        self._master, self.slave = os.openpty()
        self._unsent = b""
        self._room: asyncio.Future[None] | None = None
        self._reading = False
        self.ended = False
        os.set_blocking(self._master, False)

    def enter(self) -> None:
        """For `preexec_fn`: the new process leads a session whose terminal this is."""
        import fcntl
        import termios

        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def begin(self) -> None:
        """The process has been started, or has not: our copy of its side is closed, its output is read."""
        os.close(self.slave)
        self.slave = -1
        self.resume()

    def resume(self) -> None:
        if not self._reading and not self.ended:
            self._reading = True
            self._loop.add_reader(self._master, self._readable)

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._master)

    def drain(self) -> None:
        """Takes what is there, also while it is paused."""
        while not self.ended and self._readable():
            pass

    def _readable(self) -> bool:
        try:
            data = os.read(self._master, READ_BYTES_MAX)
        except BlockingIOError:
            return False
        except OSError:  # Linux says EIO when nobody has the slave side open any more
            data = b""
        if not data:
            self.close()
            self._on_end()
            return False
        if not self._on_output(data):
            self.pause()
        return True

    def type(self, data: bytes) -> None:
        """Input, taken at once; dropped once the terminal is closed."""
        self._unsent += data
        self._writable()

    async def write(self, data: bytes) -> None:
        """As `type`, waiting while the process does not take it."""
        self.type(data)
        while self._unsent and not self.ended:
            self._room = self._loop.create_future()
            await self._room

    def _writable(self) -> None:
        try:
            written = os.write(self._master, self._unsent) if not self.ended else len(self._unsent)
        except BlockingIOError:
            written = 0
        except OSError as error:
            written = len(self._unsent)
            if error.errno != errno.EIO:
                self.close()
        self._unsent = self._unsent[written:]
        if self.ended:
            return
        if self._unsent:
            self._loop.add_writer(self._master, self._writable)
        else:
            self._loop.remove_writer(self._master)
            self._wake()

    def _wake(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def resize(self, width: int, height: int) -> None:
        import fcntl
        import termios

        if not self.ended:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def close(self) -> None:
        """Hangs up: who still uses the terminal gets SIGHUP. Idempotent."""
        if self.ended:
            return
        self.pause()
        self._loop.remove_writer(self._master)
        self.ended = True
        os.close(self._master)
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
        self._wake()
