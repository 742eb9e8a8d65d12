"""``headwater dev-postgres``: a private PostgreSQL with a small writer, and Dagster beside it."""

from __future__ import annotations

import os

import click

from orchestration.cli.context import Context
from orchestration.config import Settings

__all__ = ["dev_postgres"]


@click.command("dev-postgres")
@click.option("--port", type=int, help="Port of the UI; default: the first free one from 3000.")
@click.pass_context
def dev_postgres(click_context: click.Context, port: int | None) -> None:
    """Start a private PostgreSQL server with a shop that writes, and open Dagster on both.

    The server keeps its data in Headwater's home and listens on 127.0.0.1 alone.
    """
    from orchestration.cli.dev import dev
    from orchestration.cli.live_shop import LiveShop
    from orchestration.cli.private_postgres import PrivatePostgres

    context = click_context.find_object(Context)
    directory = Settings.load().home / "postgres"
    directory.mkdir(parents=True, exist_ok=True)
    server = PrivatePostgres(directory)
    server.start()
    try:
        shop = LiveShop(server.url)
        shop.open_shop()
        shop.start()
        os.environ["SHOP_DSN"] = server.url
        if context is not None:
            console = context.console()
            console.print("A shop writes to a private PostgreSQL; see the group live_shop.")
            console.print("  elsewhere: export SHOP_DSN (the password lies in its directory)")
            console.print(f"  {directory}")
        try:
            click_context.invoke(dev, port=port, home=False)
        finally:
            shop.stop.set()
            shop.join()
    finally:
        server.stop()
