"""Which words ask for the same thing: `weigh` and `kg`, `price` and `euros`. English, as stems. Pure."""

from __future__ import annotations

from collections import defaultdict

from inference.text.overlap import terms_of

#: The words of a group ask for, or are, the same kind of value. A word may be in several groups. An indented line
#: belongs to the group of the line before.
_GROUPS = """
cost costs price prices priced fee fees charge charges pay pays paid payment expensive cheap rent toll deposit euro
    pound dollar cent cents usd eur gbp budget spend spends spent money worth reimbursement
weigh weighs weight weights heavy mass kg kilogram kilograms kilogramme gram grams tonne tonnes ton lb ounce
length distance metre metres meter km kilometre kilometres mile miles cm mm foot feet inch
duration last lasts lasted minute minutes hour hours day days week weeks month months year years second seconds
tall height high elevation altitude metre metres cm feet climb climbs rise
deep depth metres cm
wide width narrow narrowed broad metre millimetre millimetres cm mm
temperature hot warm cold cool degree degrees celsius fahrenheit
fast speed quick quickly rapid rapidly kmh mph knots
area size large hectare hectares acre square
age old aged born birth birthday birthplace
die dies died death dead killed
marry married wife husband spouse wedding
lead leads led leader head chief manage manages managed manager management director boss charge command commands
    commanded captain president chairman supervise
teach teaches taught teacher trainer coach instructor
write writes wrote written author
paint paints painted painter painting paintings artist
build builds built rebuilt builder construct constructed construction erect erected
design designed designs designer architect
found founded founder founding establish established start started begin began begun launch launched open opened
discover discovered discovery discoverer find found notice noticed
invent invented inventor
end ends ended finish finished stop stops expire expires terminate cancel cancelled
buy buys bought purchase purchased order ordered sell sells sold supply supplies supplied supplier deliver delivered
    vendor
phone telephone tel mobile extension call
email mail e-mail address
live lives lived living reside home address
work works worked job employ employs employee employees staff people crew workers
people persons person seats seat sit sits places capacity
company firm business supplier manufacturer maker brand
allow allows allowed permit permitted may admit admitted forbid forbidden
doctor physician dr
eat eats ate food feed feeds meal dish diet
dose dosage millilitres milligrams tablets ml mg
ampere amperes amp amps a
volt volts voltage v
watt watts power kw w
guarantee warranty cover covers covered
move moves moved relocate relocates transport carried carries carry
lose loses lost loss
grow grows grown grew cultivated
keep store stored stores storage archived archive kept
return returns returned back
repair repairs repaired fix fixed mend maintenance service
smell smells scent fragrance odour perfume aroma
colour color colours red blue green yellow white black grey brown
steal stole stolen theft
drive drives drove driven driver car
speak speaks spoke language languages
interest rate percent
"""


def _groups_by_term() -> dict[str, frozenset[int]]:
    groups: defaultdict[str, set[int]] = defaultdict(set)
    for number, line in enumerate(_GROUPS.strip().replace("\n    ", " ").splitlines()):
        for term in terms_of(line):
            groups[term].add(number)
    return {term: frozenset(numbers) for term, numbers in groups.items()}


_BY_TERM = _groups_by_term()
#: Forms of one word have a beginning of this length in common: `teach`, `teacher`.
_COMMON_BEGINNING = 5


def are_related(term: str, other: str) -> bool:
    """Return whether two stems are forms of one word, or ask for the same kind of value."""
    if min(len(term), len(other)) >= _COMMON_BEGINNING and term[:_COMMON_BEGINNING] == other[:_COMMON_BEGINNING]:
        return True
    return bool(_BY_TERM.get(term, frozenset()) & _BY_TERM.get(other, frozenset()))
