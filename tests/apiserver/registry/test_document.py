"""docs/api.md says what the registry says."""

from pathlib import Path

from kubeloop.actors.apiserver.registry import all_resources, document_generate

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_table_of_kinds_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == document_generate.document(), "write it anew: make api-table"


def test_the_table_has_a_line_for_every_kind_and_tells_what_is_enforced() -> None:
    lines = [line for line in document_generate.document().splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    header = next(cells for cells in table if cells[0] == "kind")
    rows = [dict(zip(header, cells, strict=True)) for cells in table if len(cells) == len(header)]
    by_name = {(row["group/version"], row["resource"]): row for row in rows}
    assert len(by_name) == len(all_resources()) + 2  # the header and the line below it
    deployment = by_name["apps/v1", "deployments"]
    assert (deployment["kind"], deployment["short"], deployment["namespaced"]) == ("Deployment", "deploy", "yes")
    assert (deployment["subresources"], deployment["validated"]) == ("scale (Scale), status", "fields")
    assert deployment["fixed"].startswith("rules") and deployment["defaults"] == "yes"
    assert "`spec.nodeName`" in by_name["v1", "pods"]["field selectors"]
    assert by_name["v1", "bindings"]["verbs"] == "create"
    assert by_name["v1", "configmaps"]["defaults"] == ""
