"""Write the documentation pages of the examples, one for each, and their list, into docs/examples/.

    python scripts/write_example_pages.py

A test fails when a page no longer says what its example does.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, PAGES = ROOT / "examples", ROOT / "docs" / "examples"

INDEX = """# Examples

Short programs, one subject each, to read from top to bottom and to copy from. They run in a checkout after `make
demo`, with the bundled portraits or your own photos; `--help` lists what can be set. Results go to `out/examples`.

{entries}
"""

PAGE = """# {title}

{prose}

```bash
python examples/{file}
```

## The program

```python
{code}
```
"""


def pages() -> dict[str, str]:
    """File name -> content of every page."""
    written, entries = {}, []
    for path in sorted(EXAMPLES.glob("[0-9][0-9]_*.py")):
        source = path.read_text(encoding="utf-8")
        title, _, prose = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")
        title = title.rstrip(".")
        code = source[source.index('"""', 3) + 3 :].strip()
        name = f"{path.stem}.md"
        written[name] = PAGE.format(title=title, prose=prose, file=path.name, code=code)
        entries.append(f"- [{title}]({name}): `examples/{path.name}`")
    return {"index.md": INDEX.format(entries="\n".join(entries)), **written}


def main() -> None:
    """Write all pages."""
    PAGES.mkdir(exist_ok=True)
    for name, content in pages().items():
        (PAGES / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
