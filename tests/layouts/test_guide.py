"""The tables and configurations of docs/scaling.md match the model and the tests."""

from configparser import ConfigParser

from benchmarks.capacity import paper
from tests import pooler
from tests.layouts.servers import GUIDE, block


def test_the_table_of_capacity_is_what_the_model_says() -> None:
    assert "\n".join(paper()) in GUIDE.read_text(encoding="utf-8")


def test_the_configuration_of_the_pooler_is_the_one_that_is_tested() -> None:
    shown, tested = (ConfigParser(strict=False, inline_comment_prefixes=(";",)) for _ in range(2))
    shown.read_string(block("ini pgbouncer"))
    tested.read_string(pooler.CONFIGURATION.replace("{mode}", "transaction").replace("{more}", ""))
    same = ("pool_mode", "server_login_retry", "listen_addr")
    assert [shown["pgbouncer"][key] for key in same] == [tested["pgbouncer"][key] for key in same]
    assert "ignore_startup_parameters" not in shown["pgbouncer"]
