"""Case: who may search for whom, why, where and how long; as values and rules, wherever they are kept.

No rule reads a clock: the time is passed in, UTC seconds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from watchline.pipeline.cases.template import Template
from watchline.pipeline.store.asking import utc_text
from watchline.reid.embeddings import Kind
from watchline.reid.template import LIFETIME_S
from watchline.streams.errors import CaseError, UsageError

LONGEST_TEXT: Final = 1000  # characters of a purpose, an authority, a reason
MOST_EXTENSIONS: Final = 100
MOST_CAMERAS: Final = 10_000

_DAY_S: Final = 86_400.0
_CLOCK_SLACK_S: Final = 300.0  # that clocks of two machines may be apart


class NoCaseError(CaseError):
    """There is no such case, or none was named."""

    exit_code = 2


class CaseExpiredError(CaseError):
    """Its time is over."""


class CaseClosedError(CaseError):
    """Somebody closed it."""


class OutOfScopeError(CaseError):
    """A camera, or a time, that the case does not cover."""


class CaseState(StrEnum):
    """How a case stands at a time."""

    OPEN = "open"
    EXPIRED = "expired"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class CaseRules:
    """What a site allows.

    Attributes:
        longest_s: a case may last at most, from when it was opened or extended, seconds.
        appearance_s: a template of clothes lasts, from when it was made, seconds.

    Raises:
        UsageError: a time that is none.
    """

    longest_s: float = 30 * _DAY_S
    appearance_s: float = LIFETIME_S[Kind.BODY]

    def __post_init__(self) -> None:
        for name in ("longest_s", "appearance_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} {getattr(self, name)}: want seconds, more than 0")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where and when of a search.

    Attributes:
        cameras: names; empty for all of the site.
        from_s: nothing recorded before, UTC seconds; None for no bound.
        to_s: nothing recorded after, UTC seconds; None for no bound.

    Raises:
        UsageError: a span that ends before it begins, a time that is none, a camera named twice or not at all.
    """

    cameras: tuple[str, ...] = ()
    from_s: float | None = None
    to_s: float | None = None

    def __post_init__(self) -> None:
        if not all(camera.strip() for camera in self.cameras):
            raise UsageError("a camera without a name; name it, or leave cameras out for all of them")
        if len(set(self.cameras)) < len(self.cameras) or len(self.cameras) > MOST_CAMERAS:
            raise UsageError(f"{len(self.cameras)} cameras: want each once, {MOST_CAMERAS} at most")
        for name, time_s in (("from", self.from_s), ("to", self.to_s)):
            if time_s is not None and not math.isfinite(time_s):
                raise UsageError(f"{name}: {time_s} is no time; give a date and a time")
        if self.from_s is not None and self.to_s is not None and self.to_s <= self.from_s:
            raise UsageError(f"from {utc_text(self.from_s)} to {utc_text(self.to_s)}: ends before it begins")

    def allows(self, camera: str, time_s: float) -> bool:
        """Returns whether it covers what a camera recorded at a time, UTC seconds.

        >>> Scope(cameras=("gate",), from_s=100).allows("gate", 99.9)
        False
        """
        after = self.from_s is None or time_s >= self.from_s
        before = self.to_s is None or time_s <= self.to_s
        return (not self.cameras or camera in self.cameras) and after and before


@dataclass(frozen=True, slots=True)
class Extension:
    """That a case was made to last longer.

    Attributes:
        at_s: when, UTC seconds.
        expires_s: until when, UTC seconds.
        reason: why.
    """

    at_s: float
    expires_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What of a case is to be erased, now.

    Attributes:
        templates: ids; their vectors and pictures go.
        results: whether its matches, verdicts and sheets go too.
    """

    templates: tuple[str, ...] = ()
    results: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One search for one or more people, and what it may do. Made by `open_case`.

    When it is over its templates and results are erased; the record itself, and what the audit holds, stay.

    Attributes:
        id: its name, unique at the site.
        purpose: why.
        authority: reference of the order, consent or report that allows it.
        opened_s: when, UTC seconds.
        expires_s: until when, UTC seconds.
        scope: where and when of what may be searched.
        extensions: in order of time.
        closed_s: when somebody closed it, UTC seconds; None while nobody has.
        closed_reason: why; "" while nobody has.
    """

    id: str
    purpose: str
    authority: str
    opened_s: float
    expires_s: float
    scope: Scope = field(default_factory=Scope)
    extensions: tuple[Extension, ...] = ()
    closed_s: float | None = None
    closed_reason: str = ""

    def state(self, now_s: float) -> CaseState:
        """Returns how it stands at `now_s`, UTC seconds."""
        if self.closed_s is not None:
            return CaseState.CLOSED
        return CaseState.OPEN if now_s < self.expires_s else CaseState.EXPIRED

    def allows(self, camera: str, time_s: float, now_s: float) -> bool:
        """Returns whether, at `now_s`, it may search what a camera recorded at `time_s`; UTC seconds both."""
        return self.state(now_s) is CaseState.OPEN and self.scope.allows(camera, time_s)

    def expect_open(self, now_s: float) -> None:
        """Refuses to go on with a case that is over.

        Raises:
            CaseClosedError: somebody closed it.
            CaseExpiredError: its time is over.
            CaseError: the clock stands before it was opened, so nobody knows whether its time is over.
        """
        if self.closed_s is not None:
            raise CaseClosedError(
                f"case {self.id}: closed on {utc_text(self.closed_s)} ({self.closed_reason}), its templates and "
                "results are gone; open a new one with `watchline case open`"
            )
        if now_s >= self.expires_s:
            raise CaseExpiredError(
                f"case {self.id}: expired on {utc_text(self.expires_s)}, its templates and results are gone; "
                "open a new one with `watchline case open`"
            )
        if now_s < self.opened_s - _CLOCK_SLACK_S:
            raise CaseError(
                f"case {self.id}: opened on {utc_text(self.opened_s)}, and the clock says {utc_text(now_s)}; "
                "set the clock of this machine"
            )

    def expect_in_scope(self, asked: Scope, known: Collection[str]) -> Scope:
        """Returns what a search may look at: what is asked for, bounded by what the case covers.

        Args:
            asked: cameras and times of the search; what it leaves open, the case bounds.
            known: cameras of the site; empty where nobody knows them.

        Raises:
            OutOfScopeError: a camera or a time is asked for by name that the case does not cover.
            UsageError: a camera that the site does not have.
        """
        for camera in asked.cameras:
            if known and camera not in known:
                shown = ", ".join(sorted(known)[:10])
                raise UsageError(f"camera {camera}: the site has none of that name; it has {shown}")
            if self.scope.cameras and camera not in self.scope.cameras:
                shown = ", ".join(self.scope.cameras[:10])
                raise OutOfScopeError(f"case {self.id}: does not cover camera {camera}; it covers {shown}")
        begins, ends = self.scope.from_s, self.scope.to_s
        for name, time_s in (("from", asked.from_s), ("to", asked.to_s)):
            beyond = time_s is not None and (
                (begins is not None and time_s < begins) or (ends is not None and time_s > ends)
            )
            if time_s is not None and beyond:
                raise OutOfScopeError(f"case {self.id}: {name} {utc_text(time_s)}: it covers {_span(self.scope)}")
        return Scope(
            asked.cameras or self.scope.cameras,
            begins if asked.from_s is None else asked.from_s,
            ends if asked.to_s is None else asked.to_s,
        )

    def extended(self, expires_s: float, reason: str, now_s: float, rules: CaseRules) -> Case:
        """Returns the case, made to last until `expires_s`.

        Raises:
            CaseError: it is over, as of `expect_open`; what is lost does not come back.
            UsageError: no reason, not later than before, too late for the site's rules, or extended too often.
        """
        self.expect_open(now_s)
        reason = _text("reason", reason, "say why the search must go on")
        _expect_end(expires_s, now_s, rules)
        if expires_s <= self.expires_s:
            until = utc_text(self.expires_s)
            raise UsageError(f"case {self.id}: lasts until {until} already; give a later time, or close it")
        if len(self.extensions) >= MOST_EXTENSIONS:
            raise UsageError(f"case {self.id}: was extended {MOST_EXTENSIONS} times; open a new one")
        extension = Extension(now_s, expires_s, reason)
        return replace(self, expires_s=expires_s, extensions=(*self.extensions, extension))

    def closed(self, reason: str, now_s: float) -> Case:
        """Returns the case, closed; also where its time is over: then the record says why.

        Raises:
            CaseClosedError: it is closed already.
            UsageError: no reason.
        """
        if self.closed_s is not None:
            raise CaseClosedError(f"case {self.id}: closed on {utc_text(self.closed_s)} already; nothing is to be done")
        return replace(self, closed_s=now_s, closed_reason=_text("reason", reason, "say why the case ends"))

    def lost(self, templates: Sequence[Template], now_s: float) -> Lost:
        """Returns what is to be erased at `now_s`: all when it is over, else the templates whose time is."""
        if self.state(now_s) is not CaseState.OPEN:
            return Lost(tuple(template.id for template in templates), results=True)
        return Lost(tuple(template.id for template in templates if template.is_over(now_s)))


def open_case(
    id_: str, purpose: str, authority: str, expires_s: float, scope: Scope, now_s: float, rules: CaseRules
) -> Case:
    """Returns a new case.

    Args:
        id_: its name, unique at the site.
        purpose: why.
        authority: reference of what allows it.
        expires_s: until when, UTC seconds.
        scope: where and when of what may be searched.
        now_s: UTC seconds.
        rules: of the site.

    Raises:
        UsageError: something is missing, or the time is past or too far.
    """
    return Case(
        _text("id", id_, "give it one"),
        _text("purpose", purpose, "say what the search is for"),
        _text("authority", authority, "name the order, consent or report that allows it"),
        now_s,
        _expect_end(expires_s, now_s, rules),
        scope,
    )


def no_case(id_: str) -> NoCaseError:
    """Returns the error that there is no case of that id; "" for none named."""
    if not id_:
        return NoCaseError("no case is named, and nothing is searched without one; open it with `watchline case open`")
    return NoCaseError(f"case {id_}: there is none; `watchline case list` shows them")


def _text(name: str, text: str, cure: str) -> str:
    """Returns a text that a person gave, on one line."""
    text = " ".join(text.split())
    if not text:
        raise UsageError(f"{name}: is missing; {cure}")
    if len(text) > LONGEST_TEXT or not text.isprintable():
        raise UsageError(f"{name}: want {LONGEST_TEXT} printable characters at most, got {len(text)}")
    return text


def _expect_end(expires_s: float, now_s: float, rules: CaseRules) -> float:
    if not math.isfinite(expires_s):
        raise UsageError(f"expires {expires_s}: is no time; give a date and a time")
    if expires_s <= now_s:
        raise UsageError(f"expires {utc_text(expires_s)}: is past, now is {utc_text(now_s)}; give a later time")
    if expires_s > now_s + rules.longest_s:
        most = utc_text(now_s + rules.longest_s)
        days = f"{rules.longest_s / _DAY_S:g} days"
        raise UsageError(f"expires {utc_text(expires_s)}: the site allows {days}; give {most} at the latest")
    return expires_s


def _span(scope: Scope) -> str:
    begins = "the beginning" if scope.from_s is None else utc_text(scope.from_s)
    ends = "now and later" if scope.to_s is None else utc_text(scope.to_s)
    return f"{begins} to {ends}"
