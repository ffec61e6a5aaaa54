"""Containers end with kubeloop, also when it is killed with SIGKILL: a shell outlives it for a moment and sees to that.

The shell reads from a pipe which process groups live; the pipe's end is kubeloop's end, however it came. POSIX only.
"""

import contextlib
import subprocess

SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r word group; do
    case $word in
        keep) groups="$groups$group " ;;
        forget) case $groups in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
[ -z "$1" ] || rm -rf -- "$1"
"""


class Survivor:
    """`folder`, if any, is removed at the end too."""

    def __init__(self, folder: str = "") -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "kubeloop-survivor", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def keep(self, group: int) -> None:
        self._say("keep", group)

    def forget(self, group: int) -> None:
        """It has ended: its number may be another's soon."""
        self._say("forget", group)

    def close(self) -> None:
        """What is kept is killed now."""
        assert self._shell.stdin is not None
        with contextlib.suppress(OSError):
            self._shell.stdin.close()
        self._shell.wait()

    def _say(self, word: str, group: int) -> None:
        assert self._shell.stdin is not None
        with contextlib.suppress(OSError):  # somebody has killed the shell: then nobody sees to it
            self._shell.stdin.write(f"{word} {group}\n".encode())
            self._shell.stdin.flush()
