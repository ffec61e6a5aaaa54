"""Every column of every kind says what it shows."""

import pytest

from kubeloop.actors.apiserver.registry import column_descriptions
from kubeloop.actors.apiserver.registry.column_descriptions import description


@pytest.fixture(params=[True, False])
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the reference's schemas, and without."""
    if not request.param:
        monkeypatch.setattr(column_descriptions, "SCHEMA_FOLDER", "nothing")
    description.cache_clear()
    column_descriptions.schema.cache_clear()
    return bool(request.param)


def test_a_column_is_described_by_the_reference_or_named_by_its_field(installed: bool) -> None:
    text = description("services", "Type")
    assert (text == "ServiceSpec.type of core/v1") is not installed
    assert description("statefulsets.apps", "Ready") == "Number of the pod with ready state"
    assert description("services", "Unknown") == ""


def test_every_field_that_a_column_names_is_in_the_reference(installed: bool) -> None:
    for resource, columns in {**column_descriptions.COLUMNS, "": column_descriptions.COMMON}.items():
        for column in columns:
            text = description(resource, column)
            assert text, (resource, column)
            if installed and column_descriptions._REFERENCE.match(columns[column]):
                assert not text.startswith(columns[column].split()[1]), (resource, column)
