"""The message of an alert: its exact text, and that no data can break it or ping anyone."""

import html
import re
import unicodedata
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import Alert
from core.message import build_message, details_url, one_line

ALERT = Alert(
    account_id="A-1",
    account_name="Acme Corp",
    account_region="AMER",
    arr=1_234_567,
    renewal_date=date(2026, 3, 31),
    account_owner="Jane Doe",
    duration_months=3,
    risk_start_month=date(2025, 11, 1),
)


def build(
    alert: Alert,
    *,
    name_channel: bool = False,
    channel: str = "amer-risk-alerts",
    base: str = "https://app.yourcompany.com",
) -> Any:
    """Build the message for the AMER channel, unless told of another."""
    return build_message(alert, channel=channel, app_base_url=base, name_channel=name_channel)


def plain(text: str) -> dict[str, Any]:
    """Give the object that shows a text as it is."""
    return {"type": "plain_text", "text": text, "emoji": False}


def blank(data: str | None) -> bool:
    """Whether nothing of a datum can be seen."""
    return not re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", "", data or "")


def texts(value: Any) -> list[str]:
    """Give every text anywhere in a message."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return []


def test_the_text_is_the_contracts_word_for_word() -> None:
    assert build(ALERT)["text"] == (
        "🚩 At Risk: Acme Corp (A-1)\n"
        "Region: AMER\n"
        "At Risk for: 3 months (since 2025-11-01)\n"
        "ARR: $1,234,567\n"
        "Renewal date: 2026-03-31\n"
        "Owner: Jane Doe\n"
        "Details: https://app.yourcompany.com/accounts/A-1"
    )


def test_the_blocks_say_the_same_and_lead_to_the_account() -> None:
    severity = "🟠 *3 months* at risk  ·  💰💰💰 *$1,234,567* ARR"
    link = "<https://app.yourcompany.com/accounts/A-1|Open account details>"
    assert build(ALERT)["blocks"] == [
        {"type": "header", "text": plain("🚩 At Risk: Acme Corp (A-1)")},
        {"type": "section", "text": {"type": "mrkdwn", "text": severity}},
        {
            "type": "section",
            "fields": [
                plain("Region\nAMER"),
                plain("Owner\nJane Doe"),
                plain("Renewal date\n⏰ 2026-03-31 (in 2 months)"),
                plain("At Risk since\n2025-11-01"),
            ],
        },
        {"type": "section", "text": {"type": "mrkdwn", "text": link}},
        {"type": "context", "elements": [plain("As of January 2026")]},
    ]


def test_what_is_unknown_says_so_and_an_absent_owner_has_no_line() -> None:
    alert = replace(ALERT, arr=None, renewal_date=None, account_owner=None, duration_months=1)
    assert build(alert)["text"] == (
        "🚩 At Risk: Acme Corp (A-1)\n"
        "Region: AMER\n"
        "At Risk for: 1 month (since 2025-11-01)\n"
        "ARR: Unknown\n"
        "Renewal date: Unknown\n"
        "Details: https://app.yourcompany.com/accounts/A-1"
    )


@pytest.mark.parametrize(
    ("arr", "shown"), [(0, "$0"), (-1, "-$1"), (-1_000_000, "-$1,000,000"), (999, "$999")]
)
def test_any_arr_reads_as_money(arr: int, shown: str) -> None:
    assert f"\nARR: {shown}\n" in build(replace(ALERT, arr=arr))["text"]


@pytest.mark.parametrize(
    ("months", "arr", "shown"),
    [
        (1, 99_999, "🟡 *New*: first month at risk  ·  💰 *$99,999* ARR"),
        (2, 100_000, "🟠 *2 months* at risk  ·  💰💰 *$100,000* ARR"),
        (5, 999_999, "🟠 *5 months* at risk  ·  💰💰 *$999,999* ARR"),
        (6, 1_000_000, "🔴 *6 months* at risk  ·  💰💰💰 *$1,000,000* ARR"),
        (24, None, "🔴 *24 months* at risk  ·  *ARR unknown*"),
        (3, 0, "🟠 *3 months* at risk  ·  *$0* ARR"),
        (3, 1, "🟠 *3 months* at risk  ·  💰 *$1* ARR"),
    ],
)
def test_how_long_and_how_much_is_seen_at_a_glance(months: int, arr: int | None, shown: str) -> None:
    alert = replace(ALERT, duration_months=months, arr=arr)
    assert build(alert)["blocks"][1]["text"] == {"type": "mrkdwn", "text": shown}


@pytest.mark.parametrize(
    ("renewal", "shown"),
    [
        (date(2026, 1, 31), "⏰ 2026-01-31 (this month)"),
        (date(2026, 2, 1), "⏰ 2026-02-01 (next month)"),
        (date(2026, 4, 30), "⏰ 2026-04-30 (in 3 months)"),
        (date(2026, 5, 1), "2026-05-01 (in 4 months)"),
        (date(2025, 12, 31), "2025-12-31 (last month)"),
        (date(2025, 1, 1), "2025-01-01 (12 months ago)"),
        (None, "Unknown"),
    ],
)
def test_a_renewal_says_how_near_it_is_to_the_month_of_the_alert(renewal: date | None, shown: str) -> None:
    blocks = build(replace(ALERT, renewal_date=renewal))["blocks"]
    assert f"Renewal date\n{shown}" in texts(blocks)
    assert "As of January 2026" in texts(blocks)


@pytest.mark.parametrize("owner", ["", "  ", "\n", "\x00 \u202e"])
def test_a_blank_owner_is_no_owner(owner: str) -> None:
    assert "Owner" not in str(build(replace(ALERT, account_owner=owner)))


def test_in_single_webhook_mode_the_message_names_its_channel_in_text_and_blocks() -> None:
    message = build(ALERT, name_channel=True)
    assert message["text"].endswith("\nChannel: #amer-risk-alerts")
    assert message["blocks"][-1]["type"] == "context"
    assert message["blocks"][-1]["elements"][-1]["text"] == "Channel: #amer-risk-alerts"
    assert "Channel" not in str(build(ALERT))


def test_a_channel_has_one_hash_and_is_escaped_and_cut_like_all_else() -> None:
    message = build(ALERT, name_channel=True, channel="#r&d")
    assert message["text"].endswith("\nChannel: #r&amp;d")
    assert message["blocks"][-1]["elements"][-1] == plain("Channel: #r&amp;d")
    long = build(ALERT, name_channel=True, channel="x" * 3000)
    assert long["blocks"][-1]["elements"][-1] == plain("Channel: #" + "x" * 1989 + "…")


@pytest.mark.parametrize(
    ("account_id", "segment"),
    [
        ("A-1", "A-1"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("ä <1>", "%C3%A4%20%3C1%3E"),
        ("..", ".."),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_an_id_is_one_segment_of_the_details_url(account_id: str, segment: str) -> None:
    assert details_url("https://app.example.com", account_id) == f"https://app.example.com/accounts/{segment}"


def test_a_name_that_looks_like_a_mention_pings_no_one_and_forges_no_line() -> None:
    alert = replace(
        ALERT, account_name="<!channel>\n& 'Owner': \u202ex", account_owner="<@U123>\u2028ARR: $1"
    )
    message = build(alert)
    assert message["text"].splitlines()[0] == ("🚩 At Risk: &lt;!channel&gt; &amp; 'Owner':  x (A-1)")
    assert "\nOwner: &lt;@U123&gt; ARR: $1\n" in message["text"]
    assert not any("<!" in text or "<@" in text for text in texts(message))


def test_only_what_breaks_hides_or_reorders_a_line_becomes_a_space() -> None:
    embedding = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for character in map(chr, range(0x10000)):
        harmful = unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"}
        harmful |= unicodedata.bidirectional(character) in embedding
        assert one_line(character) == (" " if harmful else character), ascii(character)


def test_a_long_name_is_whole_in_the_text() -> None:
    assert "&amp;" * 1000 in build(replace(ALERT, account_name="&" * 1000))["text"]


@given(name=st.text("a&<>", min_size=20, max_size=160))
def test_a_header_has_as_much_of_a_name_as_there_is_room_for(name: str) -> None:
    header = build(replace(ALERT, account_name=name))["blocks"][0]["text"]["text"]
    whole = f"🚩 At Risk: {html.escape(name)} (A-1)"
    if len(whole) <= 150:
        assert header == whole
        return
    shown = html.unescape(header.removeprefix("🚩 At Risk: ").removesuffix("… (A-1)"))
    assert name.startswith(shown)
    assert len(header) <= 150 < len(header) + len(html.escape(name[len(shown)]))


def test_a_header_has_room_for_both_a_long_name_and_a_long_id() -> None:
    header = build(replace(ALERT, account_name="y" * 200, account_id="x" * 200))["blocks"][0]["text"]["text"]
    assert header == f"🚩 At Risk: {'y' * 75}… ({'x' * 59}…)"


def test_a_text_of_forty_thousand_characters_is_whole_and_in_a_longer_one_each_datum_is_cut() -> None:
    room = 40_000 - len(build(replace(ALERT, account_name=""))["text"])
    whole = build(replace(ALERT, account_name="x" * room))["text"]
    assert (len(whole), "…" in whole) == (40_000, False)
    cut = build(replace(ALERT, account_name="x" * (room + 1)))["text"]
    assert cut.splitlines()[0] == f"🚩 At Risk: {'x' * 5999}… (A-1)"


def test_a_field_of_two_thousand_characters_is_whole_and_a_longer_one_is_cut() -> None:
    for size, shown in ((1994, "x" * 1994), (1995, "x" * 1993 + "…")):
        fields = build(replace(ALERT, account_owner="x" * size))["blocks"][2]["fields"]
        assert fields[1] == plain(f"Owner\n{shown}")


def test_a_link_too_long_for_a_block_is_left_out_of_it() -> None:
    room = 3000 - len("<https://app.yourcompany.com/accounts/|Open account details>")
    for size, links in ((room, 1), (room + 1, 0)):
        blocks = build(replace(ALERT, account_id="x" * size))["blocks"]
        assert [block["type"] for block in blocks] == ["header", *["section"] * (2 + links), "context"]


def test_no_base_url_ends_a_link_early() -> None:
    message = build(ALERT, base="https://app.example.com/a|b>&<c\u202e")
    link = "<https://app.example.com/a%7Cb&gt;&amp;&lt;c /accounts/A-1|Open account details>"
    assert message["blocks"][3]["text"]["text"] == link


ANY = st.text(st.characters(), max_size=200) | st.text("&<>\n\r\u2028\x00\x85a…*", max_size=60)
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
        risk_start_month=st.dates(),
    ),
    name_channel=st.booleans(),
)
def test_whatever_the_data_limits_lines_and_escapes_hold(alert: Alert, name_channel: bool) -> None:  # noqa: FBT001
    message = build(alert, name_channel=name_channel)
    text = message["text"]
    assert len(text) <= 40_000
    labels = [re.split(r": ", line, maxsplit=1)[0] for line in text.splitlines()]
    expected = ["🚩 At Risk", "Region", "At Risk for", "ARR", "Renewal date", "Owner", "Details"]
    expected += ["Channel"] if name_channel else []
    if blank(alert.account_region):
        expected.remove("Region")
    if blank(alert.account_owner):
        expected.remove("Owner")
    assert labels == expected

    assert len(message["blocks"]) <= 50
    header, severity, fields, *rest = message["blocks"]
    assert 0 < len(severity["text"]["text"]) <= 3000
    assert 0 < len(header["text"]["text"]) <= 150
    assert len(header["text"]["text"].splitlines()) == 1
    assert 0 < len(fields["fields"]) <= 10
    assert all(0 < len(field["text"]) <= 2000 for field in fields["fields"])
    assert all(len(field["text"].splitlines()) == 2 for field in fields["fields"])
    assert all(len(block.get("text", {}).get("text", "")) <= 3000 for block in rest)
    assert all(0 < len(block["elements"]) <= 10 for block in rest if block["type"] == "context")
    assert sum(len(found) for found in texts(message["blocks"])) <= 13_200

    links = {block["text"]["text"] for block in rest if block["type"] == "section"}
    for found in texts(message):
        plain = found.removeprefix("<").replace("|Open account details>", "") if found in links else found
        assert not re.search(r"[<>]", plain)
        # Every ampersand begins one of the three entities: none is bare, none was cut in half.
        assert not re.search(r"&(?!(amp|lt|gt);)", plain)
        found.encode()


@given(name=st.text("ab&<> '\"", max_size=50))
def test_escaping_is_undone_to_the_very_data(name: str) -> None:
    first = build(replace(ALERT, account_name=name))["text"].splitlines()[0]
    assert html.unescape(first) == f"🚩 At Risk: {name} (A-1)"
