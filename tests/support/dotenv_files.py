"""Generated .env files: every form of the grammar, and near misses."""

from __future__ import annotations

from hypothesis import strategies as st

#: Names that files assign and look up; those in AROUND are set in the environment of the reader.
NAMES = ("A", "B", "AB", "PW", "_x")
AROUND = ("SET", "EMPTY")

_ODD_NAMES = st.sampled_from(["1A", "A.B", "A-B", "a[0]", "é", "exportA", "A\tB", "K\u212a"])
_NAME = st.sampled_from(NAMES)
_BLANK = st.sampled_from(["", "", "", " ", "  ", "\t", "\xa0", "\r", "\v"])
_EDGE = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", " \n"])

_PIECE = st.one_of(
    st.sampled_from(["a", "bc", "tail", "é", "\x85", "\u2003", "\ufeff", "export ", "=", ":", ";", " ", "\t", "\r"]),
    st.sampled_from(["#", "#x", "  #", " # note", "'", '"', "\\", "\\n", "\\\\", '\\"', "\\'", "\\$", "\\\n"]),
    st.sampled_from(["$", "$$", "$A", "${B}", "${", "}", "{}", "{", "$1", "${1}"]),
    st.sampled_from(["\\0101", "\\0012", "\\0777", "\\08", "\\c", "\\x41"]),
    st.text("ab$ {}\"'\\#=:-?+\n\t", min_size=1, max_size=6),
)
_SAFE = st.text("abc 019_-./é", max_size=6)
_OPERATOR = st.sampled_from(["", ":-", "-", ":+", "+"])
_VARIABLE = st.builds("${{{}{}{}}}".format, st.sampled_from(NAMES + AROUND), _OPERATOR, _SAFE)
_NESTED = st.builds("${{{}:-x{}}}".format, _NAME, _VARIABLE)
_MOSTLY_SET = st.sampled_from(["A", "EMPTY", *["SET"] * 6])
_REQUIRED = st.builds("${{{}{}why}}".format, _MOSTLY_SET, st.sampled_from([":?", "?"]))
_PLAIN = st.lists(st.one_of(_SAFE, _SAFE, _VARIABLE, _NESTED), max_size=4).map("".join)
_ANYTHING = st.lists(_PIECE, max_size=6).map("".join)
_INNER = st.one_of(*[_PLAIN] * 30, _ANYTHING, _REQUIRED)
_VALUE = st.one_of(
    _INNER.map(lambda v: v.replace("\n", " ").lstrip("\"' \t\v\r\xa0")),
    _INNER.map(lambda v: f"'{v.replace(chr(39), '')}'"),
    _INNER.map(lambda v: '"' + v.replace('"', '\\"') + '"'),
    st.builds("'{}\n{}'".format, _SAFE, _SAFE),
    st.builds('"{}\n{}{}\n"'.format, _SAFE, _SAFE, _VARIABLE),
    st.just(""),
    st.sampled_from(['""', "''", "# note", " # note"]),
)
_REST = st.sampled_from([*[""] * 7, " # note", " # note", " tail", "#x", " "])
_ASSIGNMENT = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["", "", "", "export ", "export\t", " "]),
    st.one_of(_NAME, _NAME, _NAME, _ODD_NAMES),
    _BLANK,
    st.sampled_from(["=", "=", "=", ":", ": "]),
    _BLANK,
    _VALUE,
    _REST,
    _EDGE,
)
_LONE = st.sampled_from([*NAMES, *AROUND, "export", "export A"]).map(lambda n: n + "\n")
_OTHER = st.sampled_from(["# comment\n", "  # it's \"one\n", "\n", "\r\n", "\x85\n", "\u2028", "A=x#y\n"])
_STATEMENT = st.one_of(*[_ASSIGNMENT] * 6, _LONE, _OTHER)
_START = st.sampled_from(["A=", "B: ", "AB =", "export PW=", "#", ""])


def _bytes(text: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Add a BOM to some texts, remove the last character of others, or insert bytes that are not UTF-8."""
    return st.builds(
        lambda whole, bom, cut, latin: (bom + whole[: len(whole) - cut]).encode() + latin,
        text,
        st.sampled_from(["", "", "", "", "\ufeff"]),
        st.sampled_from([*[0] * 24, 1]),
        st.sampled_from([*[b""] * 24, b"B=\xe9x\n", b"# \xff\n", b"B=\xe9x\n", b"A=\0\n"]),
    )


#: Files that a person could have written.
FILES = _bytes(st.lists(_STATEMENT, max_size=8).map("".join))

#: Almost arbitrary text; compose rejects most of these.
WILD = _bytes(st.lists(st.builds("{}{}\n".format, _START, _ANYTHING)).map("".join))
