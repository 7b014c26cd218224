"""The message of an alert: its exact text and blocks. No data can break it or mention anyone."""

import html
import re
import unicodedata
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.alerts import RULES
from core.domain import Alert, one_line
from core.runtime import Settings
from core.slack import build_message, details_url

ALERT = Alert(
    account_id="A-1",
    account_name="Acme Corp",
    account_region="AMER",
    arr=1_234_567,
    renewal_date=date(2026, 3, 31),
    account_owner="Jane Doe",
    duration_months=3,
    risk_start_month=date(2025, 11, 1),
    alert_type="at_risk",
)
SINGLE_WEBHOOK = {"slack_webhook_url": "https://hooks.example.com/services/x"}


def build(
    alert: Alert,
    *,
    channel: str = "amer-risk-alerts",
    kind: str = "at_risk",
    month: date = date(2026, 1, 1),
    **settings: Any,
) -> Any:
    return build_message(alert._replace(alert_type=kind, channel=channel), month, Settings(**settings))


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def fields(message: Any) -> list[str]:
    return [field["text"] for field in message["blocks"][1]["fields"]]


def blank(data: str | None) -> bool:
    return not re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", "", data or "")


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return []


def test_text_is_the_contract_word_for_word() -> None:
    assert build(ALERT)["text"] == (
        "🚩 At Risk: Acme Corp (A-1)\n"
        "Region: AMER\n"
        "At Risk for: 3 months (since 2025-11-01)\n"
        "ARR: $1,234,567\n"
        "Renewal date: 2026-03-31\n"
        "Owner: Jane Doe\n"
        "Details: https://app.yourcompany.com/accounts/A-1"
    )


def test_blocks_have_what_the_specification_lists() -> None:
    assert build(ALERT)["blocks"] == [
        {"type": "header", "text": plain("🚩 At Risk: Acme Corp (A-1)")},
        {
            "type": "section",
            "text": mrkdwn("🟠 *At Risk for: 3 months (since 2025-11-01)*"),
            "fields": [
                plain("Region: AMER"),
                plain("ARR: 💰💰💰 $1,234,567"),
                plain("Renewal date: ⏰ 2026-03-31 (in 2 months)"),
                plain("Owner: Jane Doe"),
            ],
        },
        {"type": "section", "text": mrkdwn("Details: <https://app.yourcompany.com/accounts/A-1>")},
        {"type": "context", "elements": [plain("As of January 2026")]},
    ]


def test_unknown_data_is_unknown_and_no_owner_has_no_line() -> None:
    message = build(ALERT._replace(arr=None, renewal_date=None, account_owner=None, duration_months=1))
    assert message["text"].splitlines()[2:] == [
        "At Risk for: 1 month (since 2025-11-01)",
        "ARR: Unknown",
        "Renewal date: Unknown",
        "Details: https://app.yourcompany.com/accounts/A-1",
    ]
    assert fields(message) == ["Region: AMER", "ARR: Unknown", "Renewal date: Unknown"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("arr", -1_000_000, "ARR: -$1,000,000"),
        ("arr", 0, "ARR: $0"),
        ("arr", 1, "ARR: 💰 $1"),
        ("arr", 99_999, "ARR: 💰 $99,999"),
        ("arr", 100_000, "ARR: 💰💰 $100,000"),
        ("arr", 999_999, "ARR: 💰💰 $999,999"),
        ("arr", 1_000_000, "ARR: 💰💰💰 $1,000,000"),
        ("duration_months", 1, "🟡 *At Risk for: 1 month (since 2025-11-01)*"),
        ("duration_months", 2, "🟠 *At Risk for: 2 months (since 2025-11-01)*"),
        ("duration_months", 5, "🟠 *At Risk for: 5 months (since 2025-11-01)*"),
        ("duration_months", 6, "🔴 *At Risk for: 6 months (since 2025-11-01)*"),
        ("renewal_date", date(2026, 1, 31), "Renewal date: ⏰ 2026-01-31 (this month)"),
        ("renewal_date", date(2026, 2, 1), "Renewal date: ⏰ 2026-02-01 (next month)"),
        ("renewal_date", date(2026, 4, 30), "Renewal date: ⏰ 2026-04-30 (in 3 months)"),
        ("renewal_date", date(2026, 5, 1), "Renewal date: 2026-05-01 (in 4 months)"),
        ("renewal_date", date(2025, 12, 31), "Renewal date: 2025-12-31 (last month)"),
        ("renewal_date", date(2025, 1, 1), "Renewal date: 2025-01-01 (12 months ago)"),
    ],
)
def test_value_has_a_symbol_in_the_blocks(name: str, value: Any, shown: str) -> None:
    assert shown in texts(build(ALERT._replace(**{name: value}))["blocks"])


@pytest.mark.parametrize("owner", ["", "  ", "\n", "\x00 \u202e"])
def test_blank_owner_is_no_owner(owner: str) -> None:
    owners = {owner: "U012AB3CD"} if owner.strip() else {}
    shown = str(build(ALERT._replace(account_owner=owner), owners=owners))
    assert "Owner" not in shown
    assert "U012AB3CD" not in shown


def test_recovered_alert_has_its_streak() -> None:
    message = build(ALERT, kind="recovered", month=date(2026, 2, 1))
    assert message["text"].splitlines()[:3] == [
        "✅ Recovered: Acme Corp (A-1)",
        "Region: AMER",
        "Was At Risk for: 3 months (2025-11-01 to 2026-01-01)",
    ]
    header, facts, _, context = message["blocks"]
    assert header["text"] == plain("✅ Recovered: Acme Corp (A-1)")
    assert facts["text"] == mrkdwn("*Was At Risk for: 3 months (2025-11-01 to 2026-01-01)*")
    assert facts["fields"][2] == plain("Renewal date: ⏰ 2026-03-31 (next month)")
    assert context["elements"] == [plain("As of February 2026")]
    text = build(ALERT._replace(duration_months=1), kind="recovered")["text"]
    assert "\nWas At Risk for: 1 month (2025-11-01 to 2025-11-01)\n" in text


def test_owner_in_owners_is_mentioned() -> None:
    message = build(ALERT, owners={"Jane Doe": "U012AB3CD"})
    assert "\nOwner: Jane Doe (<@U012AB3CD>)\n" in message["text"]
    assert message["blocks"][1]["fields"][3] == mrkdwn("Owner: Jane Doe (<@U012AB3CD>)")


@pytest.mark.parametrize("owner", ["jane doe", "Jane Doe ", "<@U012AB3CD>", "<!channel>"])
def test_owner_that_is_not_listed_mentions_nobody(owner: str) -> None:
    message = build(ALERT._replace(account_owner=owner), owners={"Jane Doe": "U012AB3CD"})
    assert not any("<@" in text or "<!" in text for text in texts(message))
    assert message["blocks"][1]["fields"][3]["type"] == "plain_text"


def test_mention_survives_a_hostile_or_long_owner() -> None:
    for owner, shown in (("<!channel>\n&", "&lt;!channel&gt; &amp;"), ("x" * 3000, "x" * 1899 + "…")):
        message = build(ALERT._replace(account_owner=owner), owners={owner: "W0123456789"})
        assert fields(message)[3] == f"Owner: {shown} (<@W0123456789>)"
        assert len(fields(message)[3]) <= 2000
        assert not any("<!" in text for text in texts(message))


def test_single_webhook_message_names_its_channel() -> None:
    message = build(ALERT, **SINGLE_WEBHOOK)
    assert message["text"].endswith("\nChannel: #amer-risk-alerts")
    assert message["blocks"][-1]["elements"] == [
        plain("As of January 2026"),
        plain("Channel: #amer-risk-alerts"),
    ]


def test_message_in_its_own_channel_does_not_name_it() -> None:
    both = {"slack_webhook_base_url": "http://127.0.0.1:9", **SINGLE_WEBHOOK}
    assert "Channel" not in str(build(ALERT)) + str(build(ALERT, **both))


def test_channel_is_escaped_and_cut() -> None:
    message = build(ALERT, channel="r&d", **SINGLE_WEBHOOK)
    assert message["text"].endswith("\nChannel: #r&amp;d")
    assert message["blocks"][-1]["elements"][-1] == plain("Channel: #r&amp;d")
    long = build(ALERT, channel="x" * 3000, **SINGLE_WEBHOOK)
    assert long["blocks"][-1]["elements"][-1] == plain("Channel: #" + "x" * 1898 + "…")


@pytest.mark.parametrize(
    ("account_id", "segment"),
    [
        ("A-1", "A-1"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("ä <1>", "%C3%A4%20%3C1%3E"),
        ("..", ".."),
    ],
)
def test_id_is_one_segment_of_the_details_url(account_id: str, segment: str) -> None:
    assert details_url("https://app.example.com", account_id) == f"https://app.example.com/accounts/{segment}"


def test_name_like_a_mention_mentions_nobody_and_forges_no_line() -> None:
    name, owner = "<!channel>\n& 'Owner': \u202ex", "<@U123>\u2028ARR: $1"
    message = build(ALERT._replace(account_id="<A-1>\n", account_name=name, account_owner=owner))
    first = "🚩 At Risk: &lt;!channel&gt; &amp; 'Owner':  x (&lt;A-1&gt; )"
    assert message["text"].splitlines()[0] == message["blocks"][0]["text"]["text"] == first
    assert "\nOwner: &lt;@U123&gt; ARR: $1\n" in message["text"]
    assert not any("<!" in text or "<@" in text for text in texts(message))


@pytest.mark.parametrize("name", ["{id}", "{0}", "}{", "%s"])
def test_braces_in_a_name_are_text(name: str) -> None:
    assert build(ALERT._replace(account_name=name))["text"].startswith(f"🚩 At Risk: {name} (A-1)\n")


def test_only_unsafe_characters_become_spaces() -> None:
    embedding = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for character in map(chr, range(0x10000)):
        harmful = unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"}
        harmful |= unicodedata.bidirectional(character) in embedding
        assert one_line(character) == (" " if harmful else character), ascii(character)


@given(name=st.text("a&<>", min_size=20, max_size=160))
def test_header_has_as_much_as_fits(name: str) -> None:
    header = build(ALERT._replace(account_name=name))["blocks"][0]["text"]["text"]
    whole = f"🚩 At Risk: {name} (A-1)"
    if len(html.escape(whole)) <= 150:
        assert header == html.escape(whole)
        return
    shown = html.unescape(header.removesuffix("…"))
    assert whole.startswith(shown)
    assert len(header) <= 150 < len(header) + len(html.escape(whole[len(shown)]))


def test_value_beyond_a_limit_is_cut_where_it_is_too_long() -> None:
    cut = ("x" * 1901, "x" * 1899 + "…"), ("x" * 6000, "x" * 1899 + "…"), ("&" * 381, "&amp;" * 379 + "…")
    for data, in_block in (("x" * 1900, "x" * 1900), *cut):
        message = build(ALERT._replace(account_name=data, account_owner=data))
        in_text = data.replace("&", "&amp;")
        assert message["text"].startswith(f"🚩 At Risk: {in_text} (A-1)\n")
        assert f"\nOwner: {in_text}\n" in message["text"]
        assert fields(message)[3] == f"Owner: {in_block}"
    text = build(ALERT._replace(account_name="x" * 6001, account_region="y" * 6001))["text"]
    assert text.startswith(f"🚩 At Risk: {'x' * 5999}… (A-1)\nRegion: {'y' * 5999}…\n")


@pytest.mark.parametrize(("size", "shown"), [(2869, "x" * 2869), (2870, "x" * 2868 + "…")])
def test_link_is_whole_unless_its_block_is_full(size: int, shown: str) -> None:
    message = build(ALERT._replace(account_id="x" * size), app_base_url="https://a.example.com")
    assert message["blocks"][2]["text"]["text"] == f"Details: <https://a.example.com/accounts/{shown}>"
    assert f"\nDetails: https://a.example.com/accounts/{'x' * size}" in message["text"]


def test_base_url_does_not_end_a_link_early() -> None:
    message = build(ALERT, app_base_url="https://app.example.com/a>&<c\u202e")
    link = "Details: <https://app.example.com/a&gt;&amp;&lt;c /accounts/A-1>"
    assert message["blocks"][2]["text"]["text"] == link


# The reader refuses text that is not UTF-8, so that no data has a lone surrogate.
ANY = st.text(max_size=200) | st.text("&<>\n\r\u2028\x00\x85a…*", max_size=60)
HOSTILE = st.builds(lambda text, times: text * times, ANY, st.sampled_from([1, 1, 1, 40, 2000]))


@given(
    alert=st.builds(
        Alert,
        account_id=HOSTILE,
        account_name=HOSTILE,
        account_region=st.none() | HOSTILE,
        arr=st.none() | st.integers(-(2**63), 2**63 - 1),
        renewal_date=st.none() | st.dates(),
        account_owner=st.none() | HOSTILE,
        duration_months=st.integers(1, 999),
        risk_start_month=st.dates(max_value=date(9000, 1, 1)),
    ),
    kind=st.sampled_from(sorted(RULES)),
    single=st.booleans(),
    mentioned=st.booleans(),
)
def test_limits_lines_and_escapes_hold_for_any_data(
    alert: Alert, kind: str, *, single: bool, mentioned: bool
) -> None:
    owners = {alert.account_owner: "U012AB3CD"} if mentioned and not blank(alert.account_owner) else {}
    message = build(alert, kind=kind, owners=owners, **(SINGLE_WEBHOOK if single else {}))
    text = message["text"]
    assert len(text) <= 40_000
    labels = [re.split(r": ", line, maxsplit=1)[0] for line in text.splitlines()]
    first, streak = RULES[kind].headline.split(": ")[0], RULES[kind].streak.split(": ")[0]
    expected = [first, "Region", streak, "ARR", "Renewal date", "Owner", "Details"]
    expected += ["Channel"] if single else []
    if blank(alert.account_region):
        expected.remove("Region")
    if blank(alert.account_owner):
        expected.remove("Owner")
    assert labels == expected

    header, facts, *rest = message["blocks"]
    assert 0 < len(header["text"]["text"]) <= 150
    assert len(header["text"]["text"].splitlines()) == 1
    assert 0 < len(facts["text"]["text"]) <= 3000
    assert 0 < len(facts["fields"]) <= 10
    assert all(0 < len(field["text"]) <= 2000 for field in facts["fields"])
    assert all(len(field["text"].splitlines()) == 1 for field in facts["fields"])
    assert all(len(block.get("text", {}).get("text", "")) <= 3000 for block in rest)
    assert all(0 < len(block["elements"]) <= 10 for block in rest if block["type"] == "context")
    assert sum(len(found) for found in texts(message["blocks"])) <= 13_200

    links = {block["text"]["text"] for block in rest if block["type"] == "section"}
    for found in texts(message):
        data = found.removeprefix("Details: <").removesuffix(">") if found in links else found
        data = data.replace("(<@U012AB3CD>)", "")
        assert not re.search(r"[<>]", data)
        # Every ampersand begins one of the three complete entities.
        assert not re.search(r"&(?!(amp|lt|gt);)", data)
        found.encode()
