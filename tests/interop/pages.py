"""The pages of the documentation as tests read them: blocks, and who runs each.

The first word behind a fence is the language; the rest says who runs the block:

  sh                     the page's host in the laboratory (`cases_docs`), as it stands
  sh configured          the same, with the whole configuration that the page shows
  sh given NAME          the same, with what GIVEN (`docs_given`) brings along for it and looks at afterwards
  sh RUNNER NAME         a runner of RUNNERS, which takes it by that name
  text                   what the `sh` block right above prints, with `..` for whatever differs

`pages.py RUNNER NAME` prints such a block, for runners that are shell scripts; `pages.py LANGUAGE PAGE WORDS` the one block of that language that holds
these words.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "docs"
README = TOP / "README.md"
# Who runs blocks that the laboratory's hosts cannot: with systemd, with containers, with a cluster, with a kernel of its own.
RUNNERS = {
    "package": TOP / "tests/package/run",
    "containers": TOP / "tests/package/containers",
    "kubernetes": TOP / "tests/package/kubernetes",
    "machine": TOP / "tests/interop/cases_docs.py",
}
FENCE = re.compile(r"^```(\w*)(.*)$")


@dataclass(frozen=True)
class Block:
    page: Path
    # Line of the fence.
    line: int
    language: str
    # What stands behind the language.
    mark: tuple
    text: str
    # Nothing but blank lines is between it and the block above.
    follows: bool

    @property
    def place(self):
        return f"{self.page.relative_to(TOP)}:{self.line}"

    @property
    def runner(self):
        """Who runs it instead of the page's host, if somebody does."""
        return self.mark[0] if self.language == "sh" and self.mark and self.mark[0] not in ("configured", "given") else None


def all_pages():
    return sorted(FOLDER.glob("*.md"))


def blocks(page):
    """Each block of the page, in order."""
    found, inside, prose = [], None, True
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if inside is not None:
            if line == "```":
                at, language, mark, lines, follows = inside
                found.append(Block(page, at, language, mark, "".join(f"{one}\n" for one in lines), follows))
                inside, prose = None, False
            else:
                inside[3].append(line)
        elif fence:
            inside = (number, fence[1], tuple(fence[2].split()), [], not prose)
        elif line.strip():
            prose = True
    return found


def of_runner(runner):
    """Its blocks by their names."""
    named = [block for page in all_pages() for block in blocks(page) if block.runner == runner]
    found = {block.mark[1]: block for block in named if len(block.mark) == 2}
    if len(found) != len(named):
        raise LookupError(f"`sh {runner} NAME`: a block without a name, or a name twice, at {[block.place for block in named]}")
    return found


def commands(text):
    """Commands as they stand, continued ones in one line, without what stands in here documents and comments."""
    found, here = [], None
    for line in text.replace("\\\n", " ").splitlines():
        if here is not None:
            here = None if line == here else here
            continue
        word = re.search(r"<<'?(\w+)", line)
        here = word[1] if word else None
        if line.strip() and not line.startswith("#"):
            found.append(" ".join(line.split()))
    return found


class Taken:
    """A runner's blocks, each to be taken once; in the end none may be left."""

    def __init__(self, runner):
        self._left = of_runner(runner)

    def block(self, name):
        """The text of the block."""
        return self._left.pop(name).text

    def left(self):
        return sorted(self._left)


def holding(page, language, words):
    """The one block of the page in that language that holds these words."""
    (found,) = [block for block in blocks(page) if block.language == language and words in block.text]
    return found.text


if __name__ == "__main__":
    first, second, *words = sys.argv[1:]
    print(holding(TOP / second, first, *words) if words else of_runner(first)[second].text, end="")
