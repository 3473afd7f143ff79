# SPDX-License-Identifier: Apache-2.0
"""The table of a run as a picture, for reports and pages: SVG, complete in itself."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME

from harness.evidence.table import Row, table

WIDEST = 150
# rich's own page fetches its font from elsewhere; this one takes whatever the reader has.
PAGE = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture(rows: Sequence[Row], title: str) -> str:
    """The SVG text of the table of these rows.  It fetches nothing: whoever looks at it may be offline."""
    made = table(rows)
    paper = Console(record=True, file=io.StringIO(), width=WIDEST, force_terminal=True, color_system="truecolor")
    paper.width = min(WIDEST, paper.measure(made).maximum)
    paper.print(made)
    return paper.export_svg(title=title, theme=SVG_EXPORT_THEME, code_format=PAGE, unique_id="run")
