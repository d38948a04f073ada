"""snippets.py -- runs the code in a Markdown file, against the installed library, and compares what it prints.

    snippets.py --cc CC --prefix PREFIX --lib LIBDIR --folder FOLDER FILE.md

```c blocks that hold a whole program (`int main`) are compiled through pkg-config and run. A ```text or ```output block
that follows directly is what the program must print.

```sh blocks: each line `$ adit ...` is run, and the lines up to the next `$` are what it must print; where the block has
no such lines, a ```text or ```output block that follows directly may say it. Other commands are left alone.

A line `...` in what is expected stands for any lines. Everything runs in FOLDER, emptied first.

Links must lead to headings and files that are there; a file that links its own headings must link each of them, in order.
"""
import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,}) *([\w+-]*)")


class Block:
    """A fenced block: its language, its text, its first line, and whether only blank lines lie before it."""

    def __init__(self, language, line, follows):
        self.language, self.line, self.follows, self.text = language, line, follows, ""


def blocks_of(lines):
    """The fenced blocks of a Markdown text, in order."""
    blocks, fence, follows = [], None, False
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence = match.group(1)
            blocks.append(Block(match.group(2), number, follows))
        elif fence is not None and match and line.strip().startswith(fence) and not match.group(2):
            fence, follows = None, True
        elif fence is not None:
            blocks[-1].text += line
        elif line.strip():
            follows = False
    return blocks


def prose_of(lines):
    """The text outside of fenced blocks."""
    text, fence = "", None
    for line in lines:
        match = FENCE.match(line)
        if match and fence is None:
            fence = match.group(1)
        elif match and line.strip().startswith(fence) and not match.group(2):
            fence = None
        elif fence is None:
            text += line
    return text


def wrong_links(path, prose):
    """What is wrong with the links of a document: those that lead nowhere, and a table of contents that is not complete."""
    headings = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
                for title in re.findall(r"^##+ (.*)$", prose, re.MULTILINE)]
    wrong = [f"no heading #{anchor}" for anchor in re.findall(r"\]\(#([^)]*)\)", prose) if anchor not in headings]
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        if "://" not in target and not os.path.exists(os.path.join(os.path.dirname(path), target)):
            wrong.append(f"no file {target}")
    contents = re.findall(r"^ *- \[.*\]\(#([^)]*)\)$", prose, re.MULTILINE)
    if contents and contents != headings:
        wrong.append(f"the table of contents has {contents}, not {headings}")
    return wrong


def same(expected, got):
    """Whether got is expected, where a line `...` matches any number of lines."""
    pieces = re.split(r"^\.\.\.\n", expected, flags=re.MULTILINE)
    return re.fullmatch("(?:.*\n)*".join(map(re.escape, pieces)), got) is not None


class Runner:
    """Runs snippets and counts them."""

    def __init__(self, arguments):
        self.cc, self.folder, self.path = arguments.cc, arguments.folder, arguments.file
        self.environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(arguments.lib, "pkgconfig"),
                                LD_LIBRARY_PATH=arguments.lib,
                                PATH=os.path.join(arguments.prefix, "bin") + os.pathsep + os.environ["PATH"])
        self.ran, self.failed = 0, 0

    def run(self, command):
        """Output and exit status of a command."""
        done = subprocess.run(command, shell=isinstance(command, str), cwd=self.folder, env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        return done.stdout, done.returncode

    def fail(self, line, what, detail):
        """Reports one failure."""
        self.failed += 1
        print(f"{self.path}:{line}: {what}\n{detail}")

    def judge(self, line, what, command, expected):
        """Runs a command; expected None asks for success only. An expected error message excuses its status."""
        self.ran += 1
        got, status = self.run(command)
        if status < 0 or status >= 126 or (status and not expected):
            self.fail(line, f"{what} ended with status {status}", got)
        elif expected is not None and not same(expected, got):
            diff = difflib.unified_diff(expected.splitlines(True), got.splitlines(True), "document", "printed")
            self.fail(line, f"{what} prints something else", "".join(diff))

    def program(self, block, expected):
        """Compiles and runs a C program."""
        stem = f"line_{block.line}"
        with open(os.path.join(self.folder, stem + ".c"), "w", encoding="utf-8") as source:
            source.write(block.text)
        flags, _ = self.run(["pkg-config", "--cflags", "--libs", "adit"])
        warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        output, status = self.run([self.cc, "-std=c17", *warnings, "-o", stem, stem + ".c", *flags.split(), "-lm"])
        if status:
            self.ran += 1
            self.fail(block.line, "the program does not compile", output)
        else:
            self.judge(block.line, "the program", [os.path.join(self.folder, stem)], expected)

    def session(self, block, following):
        """Runs the `$ adit` lines of a shell session."""
        commands = []
        for offset, line in enumerate(block.text.splitlines(True), 1):
            if line.startswith("$ "):
                commands.append([block.line + offset, line[2:], ""])
            elif commands and commands[-1][1].endswith("\\\n"):
                commands[-1][1] += line
            elif commands:
                commands[-1][2] += line
        for number, command, expected in commands:
            if len(commands) == 1 and not expected and following is not None:
                expected = following
            if command.startswith("adit "):
                self.judge(number, command.strip(), command, expected)


def main():
    parser = argparse.ArgumentParser()
    for option in ("--cc", "--prefix", "--lib", "--folder"):
        parser.add_argument(option, required=True)
    parser.add_argument("file")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    os.makedirs(arguments.folder)
    with open(arguments.file, encoding="utf-8") as document:
        lines = list(document)
    blocks = blocks_of(lines)
    runner = Runner(arguments)
    for wrong in wrong_links(arguments.file, prose_of(lines)):
        runner.fail(1, "contents and links", wrong)
    for block, after in zip(blocks, blocks[1:] + [None]):
        said = after and after.follows and after.language in ("text", "output")
        expected = after.text if said else None
        if block.language == "c" and re.search(r"\bint main\b", block.text):
            runner.program(block, expected)
        elif block.language in ("sh", "console"):
            runner.session(block, expected)
    print(f"{arguments.file}: {runner.ran} snippets run, {runner.failed} failed")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
