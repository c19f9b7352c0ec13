"""The word and sentence splitter, which is used for all raw text and by every word-level encoder.

A text is split at white space (including HTML breaks such as `<br />`), and each chunk is split into words independently of its
neighbors. The split loses no character (the words of a chunk joined are the chunk), and a chunk that was seen before costs one
look-up (English: 1.6 to 3 million words per second on one core).

Conventions, close to the Penn Treebank's and spaCy's:

    don't -> do n't     she's -> she 's     dogs' -> dogs '     O'Neill, o'clock stay     l'homme -> l' homme
    well-known -> well - known     and/or -> and / or     _very_ -> _ very _     ... -- !!! stay
    1,000.50   U.S.   e.g.   Mr.   J.   :-)   AT&T   &amp;   http://a.org/b   me@a.org stay whole
    Han, Hiragana, Thai, Lao, Khmer and Burmese are written without spaces: one character is one word

Every quantifier of the pattern is bounded, so that a word of 5 MB takes linear time; it is cut into words of at most 100
characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import NamedTuple, TypeVar

V = TypeVar("V")

LONGEST_WORD = 100  # characters
CACHED_CHUNKS = 500_000
LONGEST_CACHED = 48  # longer chunks are hardly ever seen twice

_BREAK = re.compile(r"</?(?:br|p)\s{0,9}/?>", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK = re.compile(r"\S+")
# Han and Hiragana, then Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}\u3000-\u303f\u30a0-\u30ff\uff00-\uffef]")
_ABBREVIATIONS = (
    "Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Hon|St|Jr|Sr|Gen|Col|Lt|Maj|Capt|Sgt|Cpl|Gov|Sen|Rep|Pres|Messrs|Mt|Ft|Ave|Blvd|"
    "Inc|Ltd|Corp|Co|Bros|vs|etc|approx|Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec|"
    "Fig|figs|cf|ca|al|ed|eds|vol|pp|"
    "Ph\\.D|bzw|usw|Nr|Str|Hr|Fr|Mme|Mlle|Sra|Dra"
)
# {W}: one character of a word, {L}: one letter, {M}: one combining mark.
# The first alternative that matches wins.
_WORD = r"""
    (?i:https?://|ftp://|www\.)[^\s。！？]{{0,88}}[\w/]                         # URL
  | [\w.+]{{1,40}}+@\w[\w-]{{0,30}}+(?:\.[\w-]{{2,12}}){{1,2}}                  # e-mail
  | \w[\w-]{{0,40}}+(?:\.\w[\w-]{{0,20}}){{0,2}}\.(?:com|org|net|edu|gov|info|tv|co\.uk)(?!\w)
  | &(?:\#\d{{1,7}}|[A-Za-z]\w{{1,9}});                                         # HTML entity
  | (?:{L}\.){{2,20}}(?:[A-Z](?!\w))?                                           # U.S., e.g.
  | (?:{abbreviations})\.
  | [A-HJ-ZÀ-ÖØ-ÞА-Я]\.(?![\w.])                                                # J.
  | [A-Z]{{1,3}}&[A-Z]{{1,3}}(?!\w)                                             # AT&T
  | \d{{1,15}}(?:[.,]\d{{1,15}}){{1,5}}                                         # 1,000.50
  | [nN]['’][tT](?!{W})
  | (?={W}{{2,98}}+['’][tT](?!{W})){W}{{1,97}}(?=[nN]['’])                      # do of don't
  | (?i:['’](?:s|re|ve|ll|d|m|em)(?!{W}))
  | (?:[cdjlmnst]|[CJL]|[Qq]u)['’](?={W})                                       # l' of l'homme
  | {W}{{1,60}}+(?:['’](?!(?i:s|re|ve|ll|d|m)(?!{W})){W}{{1,19}}+){{1,2}}       # O'Neill
  | {W}{{1,100}}+
  | (?<!\w)[:;=][-o^'’]?(?:[)(\]\[]{{1,20}}|[DPp/\\|*3oO$@])(?!\w)              # :-)
  | (?<!\w)<3(?!\d)
  | [\U0001F1E6-\U0001F1FF]{{2}}                                                # flag
  | ''|``
  | ([!?.\-=*~#+…—–])\1{{1,99}}
  | (\S)\2{{3,99}}
  | \S{M}{{0,20}}+(?:\u200d[^\w\s]{M}{{0,20}}+){{0,6}}                          # emoji, Han, punctuation
"""


class Word(NamedTuple):
    """A word and its offsets: `text[start:end]` of the raw text is the word."""

    text: str
    start: int
    end: int


class ChunkCache(dict[str, V]):
    """A cache of `function(chunk)` for short chunks; `cache[chunk]` is one look-up.

    It is emptied when it has `most` entries (default: `CACHED_CHUNKS`), so memory is bounded.
    """

    def __init__(self, function: Callable[[str], V], most: int | None = None) -> None:
        super().__init__()
        self._function, self._most = function, most

    def __missing__(self, chunk: str) -> V:
        value = self._function(chunk)
        if len(chunk) <= LONGEST_CACHED:
            if len(self) >= (self._most or CACHED_CHUNKS):
                self.clear()
            self[chunk] = value
        return value


@cache
def _ascii_pattern() -> re.Pattern[str]:
    fields = {"W": "[A-Za-z0-9]", "L": "[A-Za-z]", "M": "[^\x00-\U0010ffff]"}
    return re.compile(_WORD.format(**fields, abbreviations=_ABBREVIATIONS), re.VERBOSE)


@cache
def _unicode_pattern() -> re.Pattern[str]:
    """`re` does not support \\p{M}; letters and marks, without which words of Tamil are split, are collected once."""
    everything = [chr(c) for c in chain(range(0x30, 0x20000), range(0xE0100, 0xE01F0))]
    marks = _ranges(c for c in everything if unicodedata.category(c) in ("Mn", "Mc", "Me"))
    unspaced = re.compile(f"[{_UNSPACED}]").match
    spaced = [c for c in everything if c.isalnum() and not unspaced(c)]
    # Zero-width joiners belong to words of Indic scripts and Persian; skin tones to their emoji.
    fields = {
        "W": f"[{_ranges(spaced)}{marks}\u200c\u200d]",
        "L": f"[{_ranges(c for c in spaced if c.isalpha())}]",
        "M": f"[{marks}\U0001f3fb-\U0001f3ff]",
    }
    return re.compile(_WORD.format(**fields, abbreviations=_ABBREVIATIONS), re.VERBOSE)


def _ranges(characters: Iterable[str]) -> str:
    """Ascending characters as ranges of a character class, which compile much faster than single characters."""
    ranges: list[list[int]] = []
    for code in map(ord, characters):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def _split_chunk(chunk: str) -> tuple[str, ...]:
    """The words of a chunk without white space; joined they are the chunk."""
    if chunk.isascii() and len(chunk) <= LONGEST_WORD:
        if chunk.isalpha():
            return (chunk,)
        if chunk[-1] in ",;)" and chunk[:-1].isalpha():
            return (chunk[:-1], chunk[-1])
    pattern = _ascii_pattern() if chunk.isascii() else _unicode_pattern()
    return tuple(match.group() for match in pattern.finditer(chunk))


_words_of_chunk = ChunkCache(_split_chunk)


def chunk_words(chunk: str) -> tuple[str, ...]:
    """The words of one chunk of `split_chunks`; joined they are the chunk."""
    return _words_of_chunk[chunk]


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that is written without spaces, or to its punctuation."""
    return _UNSPACED_CHARACTER.match(character) is not None


def without_surrogates(text: str) -> str:
    """`text` with each lone surrogate, which JSON may hold and UTF-8 may not, replaced by one U+FFFD."""
    try:
        text.encode()  # several times as fast as the search, which is hardly ever needed
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text


def blank_breaks(text: str) -> str:
    """`text` with HTML line and paragraph breaks replaced by spaces of the same length, so that offsets do not change."""
    return _BREAK.sub(lambda match: " " * len(match.group()), text) if "<" in text else text


def split_chunks(text: str) -> list[str]:
    """The chunks between white space and HTML breaks; `find_chunks` also returns their offsets."""
    return blank_breaks(text).split()


def find_chunks(text: str) -> Iterator[tuple[str, int]]:
    """The chunks of `split_chunks`, each with its start in `text`."""
    return ((match.group(), match.start()) for match in _CHUNK.finditer(blank_breaks(text)))


def word_texts(text: str) -> list[str]:
    """The same as `[word.text for word in split_words(text)]`, several times faster."""
    return list(chain.from_iterable(map(_words_of_chunk.__getitem__, split_chunks(text))))


def split_words(text: str) -> list[Word]:
    """The words of `text`; every character outside of white space and HTML breaks is in exactly one of them."""
    words = []
    for chunk, start in find_chunks(text):
        for word in _words_of_chunk[chunk]:
            end = start + len(word)
            words.append(Word(word, start, end))
            start = end
    return words


# Sentence ends: terminal punctuation, then closing quotes or brackets, then white space (none needed after
# 。！？ and the danda); or a blank line or an HTML break.
_END = re.compile(
    r"""(?<![.!?…])[.!?…]++["'”’»)\]}]*+(?=\s)"""
    r"""|(?<![。！？।॥])[。！？।॥]++[”»」』）)\]}]*+(?=[\w\s「『（(])"""
    r"""|(?P<blank>\n[^\S\n]{0,99}\n)"""
)
_NEVER_LAST = re.compile(rf"(?:(?<!\w)(?:{_ABBREVIATIONS}|[A-HJ-ZÀ-ÖØ-ÞА-Я]|(?:[^\W\d_]\.)+[^\W\d_]))\.$")
_LOWERCASE_NEXT = re.compile(r"\s+[\"'“‘(\[]*[a-zß-öø-ÿа-яα-ω,;:]")


def split_sentences(text: str) -> list[tuple[int, int]]:
    """The character spans of the sentences of `text`, without the white space around them.

    Every character outside of white space and HTML breaks is in exactly one span, and no word of `split_words` is cut. A
    blank line ends a sentence, a line break does not, because text may be wrapped.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    breaks = _BREAK.sub(lambda match: "\n\n" + " " * (len(match.group()) - 2), text) if "<" in text else text
    for match in _END.finditer(breaks):
        if match["blank"] is None and _goes_on(breaks, match):
            continue
        _add_span(spans, breaks, start, match.end())
        start = match.end()
    _add_span(spans, breaks, start, len(breaks))
    return spans


def _goes_on(text: str, end: re.Match[str]) -> bool:
    """Whether the sentence continues: the dot belongs to an abbreviation or initial, or a lower-case letter follows."""
    if _LOWERCASE_NEXT.match(text, end.end()):
        return True
    return end.group() == "." and _NEVER_LAST.search(text, max(0, end.end() - 12), end.end()) is not None


def _add_span(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    sentence = text[start:end].strip()
    if sentence:
        first = text.index(sentence[0], start)
        spans.append((first, first + len(sentence)))
