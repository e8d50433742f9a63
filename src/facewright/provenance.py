"""What made a file: the version and the commit of the program, for results, runs and weight cards."""

import subprocess
from importlib.metadata import version
from pathlib import Path

VERSION = version("facewright")
"""Of the installed package."""


def source_commit() -> str:
    """The commit that runs, marked where files differ from it; the version where there is no repository."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD") if git("ls-files", "--", __file__) else ""
        changed = "+changes" if commit and git("status", "--porcelain", "--", str(folder)) else ""
    except OSError:
        return f"version {VERSION}"
    return commit + changed or f"version {VERSION}"
