"""Tables of RTF control words and symbols."""

from __future__ import annotations

#: Control words that stand for a character.
CHARACTER_WORDS = {
    "line": "\n",
    "lbr": "\n",
    "softline": "\n",
    "tab": "\t",
    "emdash": "\u2014",
    "endash": "\u2013",
    "emspace": "\u2003",
    "enspace": "\u2002",
    "qmspace": "\u2005",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
}
#: A non-breaking hyphen becomes `-`; an optional hyphen is dropped.
SYMBOLS = {"~": "\xa0", "_": "-", "{": "{", "}": "}", "\\": "\\", "\t": "\t"}
#: Groups without visible text, by their first control word. Groups that begin with `\*` are skipped by default.
_SKIPPED_NAMES = (
    "aftncn aftnsep aftnsepc colorschememapping colortbl datastore filetbl ftncn ftnsep ftnsepc generator info "
    "latentstyles listoverridetable listtable mmathPict mmathPr nonesttables nonshppict objclass objdata objname pn "
    "private revtbl rsidtbl rxe tc tcn themedata txe userprops xe xmlnstbl"
)
SKIPPED_DESTINATIONS = frozenset(_SKIPPED_NAMES.split())
#: Groups that begin with `\*` but have text: pictures, field results, and the parts of formulas.
_WITH_TEXT_NAMES = (
    "shppict fldrslt moMath moMathPara macc mbar mborderBox mbox md mdeg me meqArr mf mfName mfunc mgroupChr mlim "
    "mlimLow mlimUpp mm mmr mnary mnum mphant mr mrad msPre msSub msSubSup msSup msub msup"
)
DESTINATIONS_WITH_TEXT = frozenset(_WITH_TEXT_NAMES.split())
