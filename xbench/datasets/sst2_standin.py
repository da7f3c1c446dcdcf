"""Sentences that stand in for SST-2 when its files are missing: a small grammar with known evidence.

A sentence is built to express a sign, +1 or -1, which determines its label. The evidence marks the words that carry
the sign: the polar words (words of praise or blame), and the negators and intensifiers that modify them. In "A but
B" only B decides, so only B is marked.

    the script is not very dull , from start to finish .      1
                  ~~~ ~~~~ ~~~~
    a slow but truly moving film about two brothers .         1
               ~~~~~ ~~~~~~

The words and templates were written for xbench; nothing is taken from SST-2.
"""

from __future__ import annotations

from random import Random

Word = tuple[str, bool]
Phrase = list[Word]
Sentence = tuple[str, int, tuple[bool, ...] | None]  # text, label, evidence: one bool per word


def words(text: str) -> list[str]:
    return text.split()


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


ADJECTIVES = {
    +1: words("""
        absorbing brilliant charming clever delightful elegant enchanting fresh graceful gripping heartfelt
        hilarious honest inventive joyful lively lovely magical masterful memorable moving playful poignant
        radiant rewarding rich satisfying sharp sincere stunning stylish superb tender thoughtful touching
        uplifting vivid warm witty wonderful
    """),
    -1: words("""
        annoying awful bland bloated boring charmless cheap clumsy cold contrived disappointing dreadful
        dreary dull empty flat forgettable formulaic grating hollow incoherent irritating lazy lifeless messy
        muddled painful plodding pointless predictable pretentious shallow silly sloppy sluggish stale
        tedious tiresome ugly witless
    """),
}
NOUNS = {
    +1: words("delight gem joy marvel masterpiece pleasure treasure treat triumph winner"),
    -1: words("bore chore disaster disgrace dud failure letdown mess mistake ordeal"),
}
VERBS = {  # without the "s" of the third person
    +1: words("amuse captivate charm dazzle delight enthrall inspire thrill"),
    -1: words("alienate annoy bore disappoint exhaust frustrate insult irritate"),
}
INTENSIFIERS = words("deeply extremely quite really remarkably so thoroughly truly utterly very")
NEGATORS = ["not", "never", "hardly", "scarcely", "not very", "not at all", "far from"]

KINDS = words("comedy documentary drama film movie picture production story thriller western")
NEUTRAL = words("animated black-and-white english french local low-budget period recent summer two-hour")
AUDIENCES = lines("""
    viewers
    its audience
    the crowd
    everyone in the room
    young and old
    the patient viewer
""")
ASPECTS = lines("""
    acting
    camera
    cast
    dialogue
    direction
    editing
    ending
    first act
    music
    opening
    pacing
    plot
    premise
    script
    second half
""")
TOPICS = lines("""
    two brothers
    a small town
    an old sailor
    life after the war
    a family of bakers
    a long train ride
    the night shift
    a chess player
    three sisters
    a border crossing
    a missing letter
    the last summer of school
    a village teacher
    an island ferry
""")
LEADS = ["", "", "", *lines("""
    in the end ,
    as it happens ,
    on second viewing ,
    for most of its length ,
    to my eye ,
    like the book ,
    this time ,
    from what i saw ,
""")]  # fmt: skip
TAILS = ["", "", "", *lines("""
    , from start to finish
    in every scene
    for two hours
    on the big screen
    by any measure
    more often than you expect
    in its own way
    , at least in the city
""")]  # fmt: skip


def sentences(train: int, dev: int, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """`train` and `dev` sentences, all distinct, determined by the seed."""
    random = Random(seed)
    seen: dict[str, Sentence] = {}
    while len(seen) < train + dev:
        sign = random.choice((+1, -1))
        phrase = random.choice(TEMPLATES)(sign, random)
        text = " ".join(word for word, _ in phrase)
        seen.setdefault(text, (text, int(sign > 0), tuple(evidence for _, evidence in phrase)))
    rows = list(seen.values())
    return rows[:train], rows[train:]


def plain(text: str) -> Phrase:
    return [(word, False) for word in text.split()]


def marked(text: str) -> Phrase:
    return [(word, True) for word in text.split()]


def unmarked(phrase: Phrase) -> Phrase:
    return [(word, False) for word, _ in phrase]


def quality(sign: int, random: Random) -> Phrase:
    """An adjective phrase that expresses `sign`: plain, intensified, or the opposite negated."""
    form = random.choice(("plain", "intensified", "negated"))
    if form == "negated":
        return marked(random.choice(NEGATORS)) + marked(random.choice(ADJECTIVES[-sign]))
    return praise(sign, random, form == "intensified")


def praise(sign: int, random: Random, intensified: bool) -> Phrase:
    intensifier = random.choice(INTENSIFIERS) if intensified else ""
    return marked(intensifier) + marked(random.choice(ADJECTIVES[sign]))


def action(sign: int, random: Random) -> Phrase:
    """A verb phrase that expresses `sign`: "delights", "never bores", "fails to delight"."""
    form = random.choice(("plain", "plain", "never", "does not", "fails to"))
    if form == "plain":
        return marked(random.choice(VERBS[sign]) + "s")
    if form == "never":
        return marked("never") + marked(random.choice(VERBS[-sign]) + "s")
    return marked(form) + marked(random.choice(VERBS[-sign]))


def article(phrase: Phrase) -> Phrase:
    """The phrase with "a" or "an" before it."""
    return plain("an" if phrase[0][0][0] in "aeiou" else "a") + phrase


def about(random: Random) -> Phrase:
    return plain(random.choice(("", "about " + random.choice(TOPICS))))


def aspect_is(sign: int, random: Random) -> Phrase:
    start = plain(f"{random.choice(LEADS)} the {random.choice(ASPECTS)} is")
    return start + quality(sign, random) + plain(random.choice(TAILS)) + plain(".")


def described(sign: int, random: Random) -> Phrase:
    """A noun phrase: "an utterly tedious french comedy about three sisters ."."""
    neutral = random.choice(("", random.choice(NEUTRAL)))
    phrase = praise(sign, random, random.random() < 0.5) + plain(f"{neutral} {random.choice(KINDS)}")
    return article(phrase) + about(random) + plain(".")


def denied(sign: int, random: Random) -> Phrase:
    """The opposite denied: "it is hardly a gripping drama", "it is no triumph"."""
    start = plain(f"{random.choice(LEADS)} {random.choice(('it', 'this'))} is")
    if random.random() < 0.3:
        return start + marked("no") + marked(random.choice(NOUNS[-sign])) + about(random) + plain(".")
    start += marked(random.choice(("not", "hardly", "never")))
    kind = marked(random.choice(ADJECTIVES[-sign])) + plain(random.choice(KINDS))
    return start + article(kind) + about(random) + plain(".")


def named(sign: int, random: Random) -> Phrase:
    start = plain(f"{random.choice(LEADS)} this {random.choice(NEUTRAL)} {random.choice(KINDS)} is")
    return start + article(marked(random.choice(NOUNS[sign]))) + plain(random.choice(TAILS)) + plain(".")


def acts(sign: int, random: Random) -> Phrase:
    start = plain(f"{random.choice(LEADS)} the {random.choice(KINDS)}") + about(random)
    return start + action(sign, random) + plain(f"{random.choice(AUDIENCES)} {random.choice(TAILS)} .")


def agreeing(sign: int, random: Random) -> Phrase:
    first, second = random.sample(ASPECTS, 2)
    joined = plain(f"the {first} is") + quality(sign, random) + plain(f"and the {second} is")
    return joined + quality(sign, random) + plain(".")


def contrast(sign: int, random: Random) -> Phrase:
    start = plain(f"{random.choice(LEADS)} the {random.choice(ASPECTS)} is")
    start += unmarked(quality(-sign, random))
    return start + plain("but") + quality(sign, random) + plain(random.choice(TAILS)) + plain(".")


def contrast_clauses(sign: int, random: Random) -> Phrase:
    start = plain(f"the {random.choice(ASPECTS)} is") + unmarked(quality(-sign, random))
    return start + plain(", but it") + action(sign, random) + plain(f"{random.choice(AUDIENCES)} .")


ONCE = (denied, named, agreeing, contrast, contrast_clauses)
TEMPLATES = (aspect_is, described, acts) * 2 + ONCE  # the simple forms are twice as frequent
