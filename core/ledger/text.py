"""Text with NUL characters, which PostgreSQL's own can't hold, and a hostile name may have.

Written as U+0010 (data link escape) and a digit, and U+0010 itself likewise, so that no two texts become one.
All other text is stored as it is. The driver does it, for what is stored and for what is asked alike.
"""

import re

from psycopg.abc import AdaptContext, Buffer
from psycopg.types.string import StrDumperUnknown, TextLoader

_ESCAPE = "\x10"
_ESCAPED = {"\0": _ESCAPE + "0", _ESCAPE: _ESCAPE + "1"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPED.items()}
_TO_ESCAPE = re.compile("|".join(_ESCAPED))
_TO_PLAIN = re.compile("|".join(_PLAIN))


def escape(text: str) -> str:
    """Return the text without NUL."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found[0]], text)


def unescape(text: str) -> str:
    """Return the text as it was before `escape`."""
    return _TO_PLAIN.sub(lambda found: _PLAIN[found[0]], text)


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(escape(obj))


class _Loader(TextLoader):
    def load(self, data: Buffer) -> str:
        return unescape(bytes(data).decode())


def hold_any_text(context: AdaptContext) -> None:
    """Let a connection store any text, and read it back the same."""
    if context.adapters is not None:
        context.adapters.register_dumper(str, _Dumper)
        for name in ("text", "varchar"):
            context.adapters.register_loader(name, _Loader)
