"""`cinemae doctor`: examine the installation and say how to fix what is wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from ..scoring.options import EngineOptions
from .common import Version, command_app, run_command
from .expand import expanded

app = command_app()


@app.command()
@expanded
def doctor(
    options: EngineOptions,
    card: Annotated[
        bool,
        typer.Option("--card", help="Print the engine's card instead: licences, rates by source, training images."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    version: Version = False,
) -> None:
    """Show what is installed, what really works, and the fix for what does not.

    Exit codes: 0 scoring works, 2 usage, 3 a problem was found.
    """
    from ..core.text import hanging, terminal_width

    width = terminal_width()
    if card:
        from ..diagnose import engine_card

        if json:
            from json import dumps

            print(dumps(engine_card.card(options.engine), indent=2))
        else:
            for line in engine_card.card_lines(options.engine, width):
                print(line)
        return

    from ..diagnose.doctor import examine, exit_code

    findings = []
    for finding in examine(options):
        findings.append(finding)
        if not json:
            mark = "PROBLEM" if finding.level == "problem" else finding.level
            print(hanging(f"{mark:8} {finding.topic:12} {finding.text}", 22, width), flush=True)
            if finding.fix:
                print(hanging(f"{'':21} fix: {finding.fix}", 27, width))
    if json:
        from dataclasses import asdict
        from json import dumps

        found = {"ok": exit_code(findings) == 0, "findings": [asdict(finding) for finding in findings]}
        print(dumps(found, indent=2))
    else:
        problems = sum(finding.level == "problem" for finding in findings)
        warnings = sum(finding.level == "warning" for finding in findings)
        verdict = "; scoring will not work as it should" if problems else ""
        print(f"problems: {problems}, warnings: {warnings}{verdict}")
    raise typer.Exit(exit_code(findings))


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    run_command(app)
