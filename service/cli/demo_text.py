"""Words for the demonstration's people and posts."""

# ruff: noqa: SIM905 - a word to a line is hard to read

from random import Random
from typing import Final

GIVEN: Final = (
    "ada alan amina anita barbara carlos chen claude dennis donald dorothy edith elena emil "
    "fatima frances grace hedy ines ivan jana joan john jorge katherine keiko ken lars leila "
    "leslie linus lucia margaret maria mei miguel mina niklaus nora olga omar paul priya radia "
    "rosa samir sofia tim tomas vera wanda yuki zoe"
).split()
FAMILY: Final = (
    "abebe adams allen bartik becker berger bianchi borg brooks cerf chandra clarke costa "
    "diaz engel feldman ferrari fischer garcia goldberg hamilton hoare holm hopper ito jansen "
    "jensen johnson kahn kim knuth kovac lamarr lamport lee liskov lopez meyer mori nowak okafor "
    "olsen perlman petrov ramos ritchie rossi sato schmidt silva singh tanaka thompson turing "
    "varga weber wirth yilmaz zhang"
).split()
SUBJECTS: Final = (
    "the new index,a slow query,our deploy script,the message queue,the login page,"
    "the test suite,a forgotten cron job,the staging server,the first release,an old migration,"
    "the rate limit,a memory leak,the mail template,connection pooling,the search page,"
    "a time zone bug,the on-call handbook,the backup plan,a flaky test,the style guide"
).split(",")
TITLES: Final = (
    "What {} taught me|Notes on {}|A week with {}|How we fixed {}|Rethinking {}|"
    "{}: a short story|Five questions about {}|Why I stopped worrying about {}|"
    "Before you touch {}|Living with {}"
).split("|")
SENTENCES: Final = (
    "Last week I spent two days on {}.|Nobody had looked at {} for a year.|"
    "The numbers were clear once we measured them.|It started with a report from a customer.|"
    "We wrote down what we knew and what we only believed.|"
    "The fix for {} was four lines long.|Reading the manual would have been faster.|"
    "In the end {} was not the cause at all.|Measure first, then change one thing.|"
    "I would do it the same way again.|A colleague asked the right question about {}.|"
    "The old behaviour is still there behind a flag.|It has been quiet ever since.|"
    "There is more to say about {}, but not today.|Thanks to everyone who helped with the tests.|"
    "If you have seen the same with {}, tell me how you solved it.|"
    "We moved {} out of the way first.|The second attempt held.|"
    "Most of the time went into finding a way to reproduce it.|Small steps, each one reversible."
).split("|")


def name(random: Random) -> tuple[str, str]:
    """A given name and a family name, in lower case."""
    return random.choice(GIVEN), random.choice(FAMILY)


def title(random: Random) -> str:
    """A title, its first letter a capital."""
    text = random.choice(TITLES).format(random.choice(SUBJECTS))
    return text[0].upper() + text[1:]


def content(random: Random) -> str:
    """One to four paragraphs about one subject."""
    subject = random.choice(SUBJECTS)
    return "\n\n".join(_paragraph(random, subject) for _ in range(random.randint(1, 4)))


def _paragraph(random: Random, subject: str) -> str:
    chosen = random.sample(SENTENCES, random.randint(2, 5))
    return " ".join(sentence.replace("{}", subject) for sentence in chosen)
