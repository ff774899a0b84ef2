"""`watchline export`: evidence out of the site, and a look at evidence anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from watchline.pipeline.cli.audit_options import KeyFileOption, PublicKeyOption
from watchline.pipeline.cli.catalog_options import JsonOption
from watchline.streams.errors import OutputError

_MOST_TOLD = 200  # characters of a thing that a manifest says

app = typer.Typer(
    no_args_is_help=True,
    help="Evidence: signed files of what was found, and whether one is as it was signed.",
    epilog="What a signature proves and what it does not: docs/custody.md.",
)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The evidence.")],
    key: PublicKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at every byte of evidence, on any machine, without the site: is it as it was signed, and by whom?

    The public key that lies in the file proves nothing about who signed. Give the site's own, which you got from the
    site on another way, as --key. What is wrong is named, a line each, and the exit status is then 1.

    \b
    Examples:
      watchline export verify C-2026-17.zip --key site.pub
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import count, plain
    from watchline.pipeline.evidence.verifying import check
    from watchline.pipeline.signing import PublicKey

    done = check(file, PublicKey.read(key) if key else None)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **asdict(done)}, indent=2))
    else:
        for text in done.problems:
            typer.echo(f"watchline: {plain(text)}", err=True)
        if done.fingerprint:
            whose = {None: "; whose that is was not checked: give --key", True: ", the key given", False: ""}
            typer.echo(f"signed by key {done.fingerprint}{whose[done.is_given_key]}")
            typer.echo(plain(_told(done.manifest)))
    if done.problems:
        raise OutputError(f"{file}: is not as it was signed, or not by that key: {len(done.problems)} found")
    if not as_json:
        typer.echo(f"{count(done.files, 'file')}, all as they were signed")


@app.command("key")
def print_key(site_key: KeyFileOption = None) -> None:
    """Print the site's public key, to be given to whoever checks evidence; at first use, the key is made.

    The fingerprint goes to the standard error. Read it to them over the telephone, or print it on paper.

    \b
    Examples:
      watchline export key > site.pub
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.signing import SiteKey, default_key

    path = site_key or default_key()
    key = SiteKey.load_or_make(path)
    typer.echo(key.public.pem.decode(), nl=False)
    typer.echo(f"fingerprint {key.public.fingerprint}; the private key lies in {path}", err=True)


def _told(manifest: Mapping[str, object]) -> str:
    """Returns in a line what a manifest says."""
    names = ("case", "operator", "made_at", "audit_head")
    told = ((name.replace("_", " "), str(manifest.get(name, "-"))) for name in names)
    return ", ".join(f"{name} {text[:_MOST_TOLD]}{'...' * (len(text) > _MOST_TOLD)}" for name, text in told)
