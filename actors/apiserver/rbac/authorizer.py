"""RBAC: which roles a user's bindings give in a namespace and in the cluster, and what their rules allow.

Bindings are indexed by subject and kept up to date from the caches' histories, so that a decision looks at the user's
own bindings only; what one user may do with one resource is remembered until a role or binding changes.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kubeloop.actors.api.errors import quoted
from kubeloop.actors.apiserver import limits
from kubeloop.actors.apiserver.call import NeedsCache
from kubeloop.actors.apiserver.messages import UserInfo
from kubeloop.actors.apiserver.rbac.attributes import ALLOWED, Attributes, Decision
from kubeloop.actors.apiserver.rbac.rules import concerns, has, path_matches

if TYPE_CHECKING:
    from kubeloop.actors.apiserver.resource_store import ResourceStore
    from kubeloop.actors.apiserver.watch_cache import WatchCache

GROUP = "rbac.authorization.k8s.io"
RESOURCES = ("clusterrolebindings", "rolebindings", "clusterroles", "roles")
MASTERS = "system:masters"
USER, GROUP_SUBJECT, ACCOUNT = "User", "Group", "ServiceAccount"

Subject = tuple[str, str]
"""("User", name), accounts by their user name; or ("Group", name)."""


class Bound(NamedTuple):
    """A rule that a user has, through a binding."""

    rule: Any
    reason: str


class Known(NamedTuple):
    """What a user may do with one resource or path: the bindings' rules that concern it, in order; what went wrong."""

    bound: tuple[Bound, ...]
    errors: tuple[str, ...]


def subjects_of(binding: Any, namespace: str) -> Iterator[Subject]:
    """The keys of a binding's subjects, in order; "" keys for what is nobody."""
    for subject in binding.subjects:
        if subject.kind == ACCOUNT:
            place = subject.namespace or namespace
            yield USER, f"system:serviceaccount:{place}:{subject.name}" if place else ""
        else:
            yield subject.kind or "", subject.name or ""


class BindingIndex:
    """subject -> namespace ("" of ClusterRoleBindings) -> key of the binding -> the binding."""

    def __init__(self, cache: "WatchCache") -> None:
        self.cache = cache
        self.by_subject: dict[Subject, dict[str, dict[str, Any]]] = {}
        self._seen: dict[str, Any] = {}
        self._revision = -1

    def update(self) -> bool:
        """Takes in what has changed since; whether anything has."""
        cache = self.cache
        if cache.revision == self._revision and self._revision >= 0:
            return False
        if self._revision < cache.history_start or cache.revision < self._revision:
            self.by_subject, self._seen = {}, {}
            changed: Any = cache.entries
        else:
            changed = {}
            for change in reversed(cache.history):
                if change.revision <= self._revision:
                    break
                changed[change.key] = None
        for key in changed:
            self._replace(key, cache.entries.get(key))
        self._revision = cache.revision
        return True

    def _replace(self, key: str, entry: Any) -> None:
        old = self._seen.pop(key, None)
        if old is not None:
            for subject in subjects_of(old.object, old.namespace):
                namespaces = self.by_subject.get(subject, {})
                namespaces.get(old.namespace, {}).pop(key, None)
                if not namespaces.get(old.namespace):
                    namespaces.pop(old.namespace, None)
                if not namespaces:
                    self.by_subject.pop(subject, None)
        if entry is not None:
            self._seen[key] = entry
            for subject in subjects_of(entry.object, entry.namespace):
                self.by_subject.setdefault(subject, {}).setdefault(entry.namespace, {})[key] = entry.object

    def bindings(self, subjects: Sequence[Subject], namespace: str) -> list[tuple[str, Any]]:
        """Those of any of the subjects in one namespace, in order of their keys."""
        found: dict[str, Any] = {}
        for subject in subjects:
            namespaces = self.by_subject.get(subject)
            if namespaces is not None:
                found.update(namespaces.get(namespace, ()))
        return sorted(found.items())


class RbacAuthorizer:
    """`stores`: of RESOURCES, in that order."""

    def __init__(self, stores: Sequence["ResourceStore"]) -> None:
        self._stores = stores
        self._caches = [store.cache for store in stores]
        self._cluster = BindingIndex(stores[0].cache)
        self._namespaced = BindingIndex(stores[1].cache)
        self._stamp: tuple[int, ...] = ()
        self._known: dict[tuple[Any, ...], Known] = {}
        self.generation = 0  # counts the changes of policy that were seen

    def authorize(self, user: UserInfo, asked: Attributes) -> Decision:
        """Raises NeedsCache until roles and bindings are in memory."""
        groups = user.groups
        if MASTERS in groups:
            return ALLOWED
        self.refresh()
        verb, group, resource, subresource, namespace, name, path, _ = asked
        key = (user.name, *groups, None, verb, group, resource, subresource, namespace, path)
        known = self._known.get(key)
        if known is None:
            known = self._learn(key, user, asked)
        for rule, reason in known.bound:
            if path or not rule.resource_names or name in rule.resource_names:
                return Decision(True, reason)
        return Decision(False, refusal(known.errors))

    def refresh(self) -> None:
        """Forgets what was known before the last change of roles and bindings."""
        one, two, three, four = self._caches
        stamp = (one.revision, two.revision, three.revision, four.revision)
        if stamp != self._stamp:
            for store in self._stores:
                if not store.loaded:
                    raise NeedsCache(store)
            self._cluster.update()
            self._namespaced.update()
            self._known.clear()
            self._stamp = stamp
            self.generation += 1

    def _learn(self, key: tuple[Any, ...], user: UserInfo, asked: Attributes) -> Known:
        concerned = on_path if asked.path else concerns
        wrong: list[str] = []
        found: list[Bound] = []
        subjects = subjects_of_user(user)
        for name, binding, namespace in self._bindings(subjects, "" if asked.path else asked.namespace):
            rules = [rule for rule in self._rules_or_error(binding, namespace, wrong) if concerned(rule, asked)]
            if rules:
                reason = reason_of(name, binding, namespace, subjects)
                found.extend(Bound(rule, reason) for rule in rules)
        if len(self._known) >= limits.authorization_decisions_max:
            self._known.clear()
        known = self._known[key] = Known(tuple(found), tuple(wrong))
        return known

    def rules_of_user(self, user: UserInfo, namespace: str, wrong: list[str]) -> Iterator[Any]:
        """Every rule that the user has in a namespace: of the cluster's bindings, then of its own.

        `wrong` is told of roles that are not there.
        """
        self.refresh()
        for _, binding, where in self._bindings(subjects_of_user(user), namespace):
            yield from self._rules_or_error(binding, where, wrong)

    def _bindings(self, subjects: Sequence[Subject], namespace: str) -> Iterator[tuple[str, Any, str]]:
        """(name, binding, namespace) of what binds any of the subjects."""
        for name, binding in self._cluster.bindings(subjects, ""):
            yield name, binding, ""
        if namespace:
            for key, binding in self._namespaced.bindings(subjects, namespace):
                yield key[len(namespace) + 1 :], binding, namespace

    def _rules_or_error(self, binding: Any, namespace: str, wrong: list[str]) -> Sequence[Any]:
        try:
            return self.rules_of(binding.role_ref, namespace)
        except LookupError as error:
            wrong.append(str(error.args[0]))
            return ()

    def rules_of(self, role_ref: Any, namespace: str) -> Sequence[Any]:
        """Of the role that a binding refers to. Raises LookupError in kube-apiserver's words when there is none."""
        if role_ref.kind == "Role":
            entry = self._caches[3].entries.get(f"{namespace}/{role_ref.name}")
        else:
            entry = self._caches[2].entries.get(role_ref.name)
        if entry is None:
            raise LookupError(f"{role_ref.kind.lower()}.{GROUP} {quoted(role_ref.name)} not found")
        rules: Sequence[Any] = entry.object.rules
        return rules


def subjects_of_user(user: UserInfo) -> list[Subject]:
    return [(USER, user.name), *((GROUP_SUBJECT, group) for group in user.groups)]


def on_path(rule: Any, asked: Attributes) -> bool:
    return has(rule.verbs, asked.verb) and path_matches(rule.non_resource_urls, asked.path)


def reason_of(name: str, binding: Any, namespace: str, subjects: Sequence[Subject]) -> str:
    """Why a rule of a binding's role allows, in kube-apiserver's words."""
    kind, shown = ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
    role = f"{binding.role_ref.kind} {quoted(binding.role_ref.name)}"
    return f"RBAC: allowed by {kind} {quoted(shown)} of {role} to {_subject_of(binding, namespace, subjects)}"


def _subject_of(binding: Any, namespace: str, subjects: Sequence[Subject]) -> str:
    for subject, key in zip(binding.subjects, subjects_of(binding, namespace), strict=True):
        if key in subjects:
            if subject.kind == ACCOUNT:
                return f"{ACCOUNT} {quoted(f'{subject.name}/{subject.namespace or namespace}')}"
            return f"{subject.kind} {quoted(subject.name)}"
    raise AssertionError("a binding of nobody asked")


def refusal(wrong: Sequence[str]) -> str:
    """What kube-apiserver adds to a refusal when bindings lead nowhere."""
    distinct = list(dict.fromkeys(wrong))
    if not distinct:
        return ""
    return f"RBAC: {distinct[0]}" if len(distinct) == 1 else f"RBAC: [{', '.join(distinct)}]"
