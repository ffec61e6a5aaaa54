"""/healthz, /livez and /readyz, as the "Kubernetes API health endpoints" page describes them."""

from collections.abc import Callable, Collection, Mapping

Check = Callable[[], str]  # "" is healthy, else what is wrong


def answer(path: str, checks: Mapping[str, Check], *, verbose: bool, exclude: Collection[str]) -> tuple[int, str]:
    """(code, text) for /readyz, /readyz/etcd, /readyz?verbose, /readyz?exclude=etcd."""
    endpoint, _, one = path.strip("/").partition("/")
    if one:
        check = checks.get(one)
        if check is None:
            return 404, "404 page not found\n"
        wrong = check()
        return (500, f"internal server error: {wrong}\n") if wrong else (200, "ok")
    lines, failed = [], []
    for name, check in checks.items():
        if name in exclude:
            lines.append(f"[+]{name} excluded: ok")
            continue
        wrong = check()
        if wrong:
            failed.append(name)
            lines.append(f"[-]{name} failed: reason withheld")
        else:
            lines.append(f"[+]{name} ok")
    for name in exclude:
        if name not in checks:
            lines.append(f'warn: some health checks cannot be excluded: no matches for "{name}"')
    if failed:
        return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
    if verbose:
        return 200, "\n".join([*lines, f"{endpoint} check passed", ""])
    return 200, "ok"
