"""Cases: what they allow, for how long, and what is lost when they are over."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from watchline.pipeline.cases.case import (
    Case,
    CaseClosedError,
    CaseExpiredError,
    CaseRules,
    CaseState,
    Lost,
    OutOfScopeError,
    Scope,
    no_case,
    open_case,
)
from watchline.pipeline.cases.records import case_of, case_record, template_of_record, template_record
from watchline.pipeline.cases.shots import Shot
from watchline.pipeline.cases.template import TemplateKind, template_of
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.template import LIFETIME_S
from watchline.streams.errors import CaseError, UsageError, WatchlineError

NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
HOUR, DAY = 3600.0, 86_400.0
RULES = CaseRules()
YARD = Scope(cameras=("gate", "yard"), from_s=NOW - DAY, to_s=NOW + DAY)


def case(expires_s: float = NOW + 2 * DAY, scope: Scope = YARD) -> Case:
    return open_case("c-7", "missing child", "report 12/2026", expires_s, scope, NOW, RULES)


def shot(kind: Kind) -> Shot:
    model = EmbeddingModel("osnet-x0-25", "61" * 32, kind, 4)
    return Shot(model, np.eye(1, 4, dtype=np.float32)[0], 0.5, np.zeros(4, np.float32), b"", "aa" * 32, "bb" * 32)


class TestOpening:
    @pytest.mark.parametrize("name", ["id_", "purpose", "authority"])
    def test_nothing_is_opened_without_a_name_a_purpose_or_an_authority(self, name: str) -> None:
        words = {"id_": "c-7", "purpose": "missing child", "authority": "report 12/2026", name: "  \n"}
        with pytest.raises(UsageError, match=f"{name.strip('_')}: is missing; "):
            open_case(**words, expires_s=NOW + DAY, scope=YARD, now_s=NOW, rules=RULES)

    @pytest.mark.parametrize(
        ("expires_s", "says"),
        [
            (NOW, "is past, now is 2026-09-21 14:13:20Z; give a later time"),
            (NOW - DAY, "is past"),
            (NOW + 31 * DAY, "the site allows 30 days; give 2026-10-21 14:13:20Z at the latest"),
            (math.nan, "is no time"),
            (math.inf, "is no time"),
        ],
    )
    def test_it_ends_in_the_future_and_not_too_far(self, expires_s: float, says: str) -> None:
        with pytest.raises(UsageError, match=f"^expires .*{says}"):
            case(expires_s)

    def test_texts_are_one_line_and_bounded(self) -> None:
        opened = open_case("c-7", "missing\n child", "x", NOW + DAY, YARD, NOW, RULES)
        assert opened.purpose == "missing child"
        with pytest.raises(UsageError, match="purpose: want 1000 printable characters at most"):
            open_case("c-7", "x" * 1001, "x", NOW + DAY, YARD, NOW, RULES)
        with pytest.raises(UsageError, match="printable"):
            open_case("c-7", "\x1b[2J", "x", NOW + DAY, YARD, NOW, RULES)

    @pytest.mark.parametrize(
        ("scope", "says"),
        [
            ({"from_s": NOW, "to_s": NOW}, "ends before it begins"),
            ({"from_s": math.nan}, "from: nan is no time"),
            ({"cameras": ("gate", "gate")}, "want each once"),
            ({"cameras": (" ",)}, "a camera without a name"),
        ],
    )
    def test_a_scope_that_makes_no_sense_is_refused(self, scope: dict[str, object], says: str) -> None:
        with pytest.raises(UsageError, match=says):
            Scope(**scope)  # type: ignore[arg-type]


class TestState:
    def test_it_is_open_until_its_last_moment_and_expired_from_it_on(self) -> None:
        opened = case()
        assert opened.state(NOW) is opened.state(NOW + 2 * DAY - 0.001) is CaseState.OPEN
        assert opened.state(NOW + 2 * DAY) is CaseState.EXPIRED
        opened.expect_open(NOW)
        with pytest.raises(CaseExpiredError, match=r"case c-7: expired on 2026-09-23 14:13:20Z, its templates and"):
            opened.expect_open(NOW + 2 * DAY)

    def test_a_closed_one_stays_closed_and_says_why(self) -> None:
        closed = case().closed("found, well", NOW + HOUR)
        assert closed.state(NOW) is closed.state(NOW + 9 * DAY) is CaseState.CLOSED
        with pytest.raises(CaseClosedError, match=r"closed on 2026-09-21 15:13:20Z \(found, well\)"):
            closed.expect_open(NOW + 2 * HOUR)
        with pytest.raises(CaseClosedError, match="already; nothing is to be done"):
            closed.closed("again", NOW + 2 * HOUR)
        with pytest.raises(UsageError, match="reason: is missing; say why the case ends"):
            case().closed("", NOW)

    def test_an_expired_one_can_be_closed_so_that_its_record_says_why(self) -> None:
        assert case().closed("never found", NOW + 9 * DAY).state(NOW + 9 * DAY) is CaseState.CLOSED

    def test_a_clock_before_it_was_opened_is_told(self) -> None:
        case().expect_open(NOW - 60)  # two machines, nearly agreeing
        with pytest.raises(CaseError, match=r"the clock says 2026-09-20 .*; set the clock of this machine"):
            case().expect_open(NOW - DAY)

    def test_none_at_all_is_told_with_the_next_step(self) -> None:
        assert "case c-8: there is none; `watchline case list`" in str(no_case("c-8"))
        assert "nothing is searched without one; open it with `watchline case open`" in str(no_case(""))
        assert isinstance(no_case(""), WatchlineError)


class TestScope:
    @pytest.mark.parametrize(
        ("camera", "time_s", "now_s", "allowed"),
        [
            ("gate", NOW, NOW, True),
            ("gate", NOW - DAY, NOW, True),
            ("gate", NOW - DAY - 1, NOW, False),
            ("gate", NOW + DAY + 1, NOW + DAY + 1, False),
            ("roof", NOW, NOW, False),
            ("gate", NOW, NOW + 2 * DAY, False),
        ],
    )
    def test_what_it_allows(self, camera: str, time_s: float, now_s: float, allowed: bool) -> None:
        assert case().allows(camera, time_s, now_s) is allowed

    def test_a_search_that_asks_for_less_is_bounded_by_the_case(self) -> None:
        asked = case().expect_in_scope(Scope(("yard",), from_s=NOW), known=("gate", "yard", "roof"))
        assert asked == Scope(("yard",), NOW, NOW + DAY)
        assert case().expect_in_scope(Scope(), known=()) == YARD

    def test_a_search_beyond_it_is_refused_by_name(self) -> None:
        with pytest.raises(OutOfScopeError, match="case c-7: does not cover camera roof; it covers gate, yard"):
            case().expect_in_scope(Scope(("roof",)), known=("gate", "yard", "roof"))
        with pytest.raises(OutOfScopeError, match=r"from 2026-09-18 .*: it covers 2026-09-20 .* to 2026-09-22"):
            case().expect_in_scope(Scope(from_s=NOW - 3 * DAY), known=())
        with pytest.raises(OutOfScopeError, match="to 2026-09-24"):
            case().expect_in_scope(Scope(to_s=NOW + 3 * DAY), known=())
        with pytest.raises(UsageError, match="camera rof: the site has none of that name; it has gate, roof"):
            case().expect_in_scope(Scope(("rof",)), known=("roof", "gate"))


class TestExtending:
    def test_it_lasts_longer_and_remembers_why(self) -> None:
        longer = case().extended(NOW + 20 * DAY, "not found yet", NOW + DAY, RULES)
        assert longer.state(NOW + 19 * DAY) is CaseState.OPEN
        assert [(each.at_s, each.reason) for each in longer.extensions] == [(NOW + DAY, "not found yet")]

    @pytest.mark.parametrize(
        ("expires_s", "reason", "now_s", "says"),
        [
            (NOW + 5 * DAY, " ", NOW, "reason: is missing; say why the search must go on"),
            (NOW + DAY, "so", NOW, "lasts until 2026-09-23 14:13:20Z already"),
            (NOW + 40 * DAY, "so", NOW, "the site allows 30 days"),
            (NOW + 5 * DAY, "so", NOW + 3 * DAY, "expired on 2026-09-23"),
        ],
    )
    def test_what_is_refused(self, expires_s: float, reason: str, now_s: float, says: str) -> None:
        with pytest.raises(WatchlineError, match=says):
            case().extended(expires_s, reason, now_s, RULES)


class TestTemplates:
    def test_clothes_last_a_day_and_say_so_and_a_face_as_long_as_the_case(self) -> None:
        clothes = template_of(shot(Kind.BODY), "t-1", "c-7", "her", NOW, RULES)
        face = template_of(shot(Kind.FACE), "t-2", "c-7", "her", NOW, RULES)
        assert (clothes.kind, face.kind) == (TemplateKind.APPEARANCE, TemplateKind.FACE)
        assert clothes.words() == "appearance: lasts 24 h, until 2026-09-22 14:13:20Z, for clothes change"
        assert face.words() == "face: lasts as long as the case"
        assert not clothes.is_over(NOW + DAY - 1)
        assert clothes.is_over(NOW + DAY)
        assert not face.is_over(NOW + 100 * DAY)

    def test_what_is_lost_and_when(self) -> None:
        templates = [template_of(shot(kind), f"t-{kind}", "c-7", "her", NOW, RULES) for kind in Kind]
        assert case().lost(templates, NOW + HOUR) == Lost()
        assert case().lost(templates, NOW + DAY) == Lost(("t-body",))
        assert case().lost(templates, NOW + 2 * DAY) == Lost(("t-body", "t-face"), results=True)
        assert case().closed("found", NOW).lost(templates, NOW) == Lost(("t-body", "t-face"), results=True)

    @pytest.mark.parametrize("rules", [{"longest_s": 0}, {"appearance_s": math.inf}, {"longest_s": math.nan}])
    def test_rules_that_are_none_are_refused(self, rules: dict[str, float]) -> None:
        with pytest.raises(UsageError, match="want seconds, more than 0"):
            CaseRules(**rules)


class TestRecords:
    def test_a_case_and_a_template_come_back_as_they_were(self) -> None:
        whole = case().extended(NOW + 3 * DAY, "not found yet", NOW, RULES).closed("found", NOW + HOUR)
        for each in (whole, case(), case(scope=Scope())):
            assert case_of(json.loads(json.dumps(case_record(each)))) == each
        for kind in Kind:
            template = template_of(shot(kind), "t-1", "c-7", "her", NOW, RULES)
            assert template_of_record(json.loads(json.dumps(template_record(template)))) == template

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"purpose": None}, "case.purpose"),
            ({"expires_s": "soon"}, "case.expires_s"),
            ({"expires_s": 10**400}, "case.expires_s"),
            ({"closed_s": True}, "case.closed_s"),
            ({"scope": []}, "case.scope"),
            ({"scope": {"cameras": [1]}}, "case.scope.cameras"),
            ({"scope": {"cameras": [], "from_s": 2, "to_s": 1}}, "case.scope"),
            ({"extensions": [1]}, "case.extensions"),
            ({"extensions": [{"at_s": 1.0, "reason": "so"}]}, "case.extensions.expires_s"),
        ],
    )
    def test_a_damaged_record_is_told_by_its_field(self, change: dict[str, object], field: str) -> None:
        with pytest.raises(CaseError, match=f"^{field}: .*the record is damaged, restore it from a backup"):
            case_of({**case_record(case()), **change})

    def test_a_kind_that_is_not_known_is_told(self) -> None:
        record = template_record(template_of(shot(Kind.BODY), "t-1", "c-7", "her", NOW, RULES))
        with pytest.raises(CaseError, match=r"template\.kind: is 'gait', want one of appearance, face"):
            template_of_record({**record, "kind": "gait"})

    @pytest.mark.parametrize("dimension", [-1, 0, 0.5])
    def test_vectors_of_no_length_are_told(self, dimension: float) -> None:
        record = template_record(template_of(shot(Kind.BODY), "t-1", "c-7", "her", NOW, RULES))
        model = {"name": "m", "sha256": "", "kind": "body", "dimension": dimension}
        with pytest.raises(CaseError, match=r"template\.model\.dimension: is .*, want a whole number from 1"):
            template_of_record({**record, "model": model})

    def test_clothes_serve_as_long_in_a_case_as_in_a_search(self) -> None:
        assert CaseRules().appearance_s == LIFETIME_S[Kind.BODY]

    def test_a_case_is_a_value(self) -> None:
        assert case() == case()
        assert replace(case(), purpose="x") != case()
