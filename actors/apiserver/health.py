"""/healthz, /livez and /readyz, as the "Kubernetes API health endpoints" page describes them."""

from collections.abc import Callable, Collection, Mapping

Check = Callable[[], str]  # "" is healthy, else what is wrong
READY_ONLY = ("etcd-readiness", "informer-sync", "shutdown")
# what a start has done before anybody is answered
START_HOOKS = (
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
)


def states(etcd: str, bootstrapped: bool) -> dict[str, str]:
    """Name of a check -> "" or what is wrong, in kube-apiserver's order. `etcd`: what is wrong with it."""
    found = {"ping": "", "log": "", "etcd": etcd, "etcd-readiness": etcd, "informer-sync": ""}
    if bootstrapped:
        found |= dict.fromkeys(START_HOOKS, "")
    return {**found, "shutdown": ""}


def checks_of(endpoint: str, states: Mapping[str, str]) -> Mapping[str, str]:
    """The checks of healthz, livez or readyz."""
    return {name: wrong for name, wrong in states.items() if endpoint == "readyz" or name not in READY_ONLY}


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
    unknown = ",".join(f'"{name}"' for name in sorted(set(exclude)) if name not in checks)
    if unknown:
        lines.append(f"warn: some health checks cannot be excluded: no matches for {unknown}")
    if failed:
        return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
    if verbose:
        return 200, "\n".join([*lines, f"{endpoint} check passed", ""])
    return 200, "ok"
