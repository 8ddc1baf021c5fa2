"""Parse the pages that tasks write: their tags and texts, and whether they depend on anything external."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = (
    "</style></script><script>alert(1)</script><img src=//x.example onerror=alert(1)>"
    "\" ' onload='x' \u202e\x1b[2J\ud800&amp;"
)
TAGS = frozenset(
    {"html", "head", "meta", "link", "title", "style", "body", "main", "h1", "h2", "p", "code", "strong", "small"}
    | {"dl", "div", "dt", "dd", "ul", "ol", "li", "i", "span", "svg", "path"}
    | {"table", "caption", "thead", "tbody", "tr", "th", "td"}
)
ATTRIBUTES = frozenset(
    {"lang", "charset", "name", "content", "http-equiv", "rel", "href", "class", "style", "title", "role", "tabindex"}
    | {"aria-label", "aria-hidden", "scope", "viewbox", "preserveaspectratio", "focusable", "d"}
)


class Parsed(HTMLParser):
    """The tags and texts of a page; fail on unclosed tags."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every tag with this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def alone(text: str) -> None:
    """Assert that a page loads nothing and runs no scripts, in light and dark mode."""
    parsed = Parsed(text)
    assert text.startswith("<!DOCTYPE html>")
    assert "://" not in text.replace("default-src 'none'", "")
    assert "url(" not in text
    assert "@import" not in text
    assert [tag.get("content", "") for tag in parsed.named("meta") if "http-equiv" in tag] == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    ]
    assert "prefers-color-scheme: dark" in text
