"""Two further sets of documents and questions for `benchmarks.quality`: manuals that differ only by heading, and tables
and pages."""

from __future__ import annotations

import random

from benchmarks.quality_corpus import BRANDS, Question

#: Heading of a section, its text with a value to fill in, questions for it, and the values.
SECTIONS = (
    (
        "Power supply",
        "Connect the device to a socket of its own. The main fuse has {} A and is behind the cover on the left.",
        ("Which main fuse does the {} need?", "How many amperes has the fuse of the {}?"),
        (6, 10, 13, 16, 20, 25),
    ),
    (
        "Warranty",
        "Defects in material are repaired free of charge for {} months. Wearing parts are excluded.",
        ("How long is the warranty of the {}?", "For how many months are repairs of the {} free?"),
        (12, 18, 24, 30, 36, 60),
    ),
    (
        "Maintenance",
        "The filter is replaced after {} hours of operation. Switch the device off before the cover is opened.",
        ("When is the filter of the {} replaced?", "After how many hours does the {} need another filter?"),
        (150, 200, 250, 400, 500, 800),
    ),
    (
        "Noise",
        "At a distance of one metre the sound level is {} dB. Rubber feet lower it.",
        ("How loud is the {}?", "What sound level has the {}?"),
        (38, 42, 47, 51, 55, 60),
    ),
)
MODELS = ("BX-300", "BX-400", "BX-310", "CX-300", "CX-450", "DM-12", "DM-21", "E7", "F-90/2", "G 5.1", "H2O-3", "K-11")
STAFF = (
    "Ada Moreau",
    "Ben Okafor",
    "Cleo Winter",
    "Dana Petrov",
    "Emil Sato",
    "Fay Lindholm",
    "Gus Romero",
    "Hal Brandt",
)
ITEMS = ("hose clamp", "sealing ring", "ball bearing", "fan belt", "spark plug", "oil filter", "hex bolt", "cable tie")
TOPICS = (
    ("parking", "Cars are parked on deck {}.", "On which deck are cars parked in {}?"),
    ("catering", "Lunch is served in room {}.", "In which room is lunch served in {}?"),
    ("visitors", "Guests register at desk {}.", "At which desk do guests register in {}?"),
    ("first aid", "The first-aid kit hangs beside door {}.", "Beside which door does the first-aid kit hang in {}?"),
    ("waste", "Batteries are collected in container {}.", "In which container are batteries collected in {}?"),
)


def headings() -> tuple[dict[str, str], list[Question]]:
    """Return manuals whose sections never name their device: only the title of each does."""
    choose = random.Random(11)  # noqa: S311 - a corpus, not a secret
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for number, model in enumerate(MODELS):
        file = f"manual-{number}.md"
        parts = [f"# {model}\n\nOperating instructions. Read them before use and keep them."]
        for heading, text, asked, values in SECTIONS:
            parts.append(f"## {heading}\n\n{text.format(choose.choice(values))}")
            questions += [Question(question.format(model), file, "heading") for question in asked]
        documents[file] = "\n\n".join(parts) + "\n"
    return documents, questions


def tables_and_pages() -> tuple[dict[str, str], list[Question]]:
    """Return price lists, rosters and minutes with codes, dates and clauses, of several sites each."""
    choose = random.Random(12)  # noqa: S311
    documents: dict[str, str] = {}
    questions: list[Question] = []
    for site in BRANDS[:10]:
        for text, asked in (_prices(site, choose), _roster(site, choose), _house_rules(site, choose)):
            file = f"{site.lower()}-{len(documents)}.md"
            documents[file] = text
            questions += [Question(question, file, kind) for question, kind in asked]
    return documents, questions


Asked = list[tuple[str, str]]


def _prices(site: str, choose: random.Random) -> tuple[str, Asked]:
    rows, asked = [], []
    for item in ITEMS:
        part = f"{choose.choice('ABCDEFG')}{choose.choice('HJKLM')}-{choose.randint(1000, 9999)}"
        rows.append(f"| {part} | {item} | {choose.randint(1, 90)}.{choose.randint(10, 99)} |")
        asked += [(f"What does part {part} cost?", "part number"), (f"price of {part.replace('-', '')}", "part number")]
    table = "| part | description | price |\n| --- | --- | --- |\n" + "\n".join(rows)
    picked = choose.sample(asked, 4)
    return f"# Prices of the {site} warehouse\n\n{table}\n", [*picked, (f"price list of {site}", "title")]


def _roster(site: str, choose: random.Random) -> tuple[str, Asked]:
    rows, asked = [], []
    for month in range(1, 13):
        day = f"2024-{month:02d}-{choose.randint(1, 28):02d}"
        rows.append(f"| {day} | {choose.choice(STAFF)} | {choose.choice(STAFF)} |")
        asked.append((f"Who is on night duty at {site} on {day}?", "date"))
    table = "| date | night duty | deputy |\n| --- | --- | --- |\n" + "\n".join(rows)
    return f"# Roster of {site}\n\n{table}\n", choose.sample(asked, 3)


def _house_rules(site: str, choose: random.Random) -> tuple[str, Asked]:
    parts, asked = [f"# House rules of {site}"], []
    for number, (topic, text, question) in enumerate(TOPICS, choose.randint(2, 20)):
        clause = f"{number}.{choose.randint(1, 9)}"
        parts.append(f"## {clause} {topic.capitalize()}\n\n{text.format(choose.randint(1, 40))} It applies from 7 a.m.")
        asked.append((question.format(site), "page"))
        asked.append((f"What does clause {clause} of the house rules of {site} say?", "clause"))
    return "\n\n".join(parts) + "\n", choose.sample(asked, 5)
