"""The recorded corpus of the reference, replayed against the program as a process."""

import pytest

from tests.conftest import Databases
from tests.corpus import CORPORA, replay
from tests.programs import on_database


@pytest.mark.parametrize(("corpus", "settings"), CORPORA)
def test_every_recorded_request_is_answered_as_the_reference_did(
    postgres: Databases, golden_database: str, corpus: str, settings: dict[str, str]
) -> None:
    replay(corpus, **on_database(postgres.dsn(golden_database)), **settings)
