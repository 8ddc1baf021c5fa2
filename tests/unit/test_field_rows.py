"""Problems found in real repositories, one per row, with the test that checks the correct result."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

#: A problem, and the test that checks the correct result: `file::name`, the whole name or a part of a table's row.
ROWS: tuple[tuple[str, str], ...] = (
    # the compose model
    ("secrets, ssh, network, labels, tags, … of build:", "engine/test_compose.py::every_image_is_the_one"),
    ("every key of the specification", "unit/test_compose_target.py::every_key_of_the_specification"),
    ("a key that nobody passes on", "cli/test_compose.py::a_key_that_nobody_passes_on"),
    ("platforms, the service's platform", "engine/test_compose_shapes.py::two-platforms"),
    ("ulimits and network that bake drops", "cli/test_compose.py::a_key_that_this_bake_drops"),
    ("dockerfile_inline", "engine/test_compose_shapes.py::inline"),
    ("additional_contexts: directory, image", "engine/test_compose_shapes.py::contexts"),
    ("additional_contexts: service:NAME", "engine/test_compose.py::image_of_another_service_is_a_context"),
    ("FROM the image of another service", "engine/test_compose_shapes.py::child"),
    ("a URL as context", "engine/test_compose_print.py::https://example.com/x.git#main"),
    ("a Dockerfile outside of the context", "engine/test_compose_shapes.py::outside"),
    ("a context with $, blank, non-ASCII, behind a link", "engine/test_compose.py::app dir $x é"),
    ("arguments with $, $$, ${X}, %{x}", "engine/test_compose.py::A=x$y $$ ${Z}"),
    ("arguments without a value", "engine/test_compose_shapes.py::list"),
    ("a service with a dot in its name", "engine/test_compose_shapes.py::dotted.name"),
    ("one Rust and one other service", "unit/test_plan.py::a_rust_and_another_service_chosen_together"),
    ("a stage that the target never reaches", "engine/test_compose_shapes.py::stage"),
    ("# syntax= that no registry gives", "unit/test_document.py::syntax"),
    ("COPY --from=IMAGE, qualified and quoted names", "unit/test_document.py::the_images_that_a_target_takes"),
    ("an image that is here for another platform only", "cli/test_images.py::another_platform_is_not_taken"),
    ("overrides, .yml beside .yaml, COMPOSE_FILE", "engine/test_compose_files.py::two of each"),
    ("COMPOSE_PATH_SEPARATOR in .env", "engine/test_compose_files.py::its separator in .env"),
    ("quoted name, BOM, JSON", "engine/test_compose_files.py::a quoted name"),
    ("services of profiles", "engine/test_compose.py::a_service_of_a_profile"),
    ("env_file missing", "engine/test_compose_shapes.py::an_env_file_that_compose_cannot_read"),
    ("variable is not set", "cli/test_compose.py::warnings_of_compose"),
    ("one-shot jobs", "engine/test_stack.py::a_job_that_fails_is_named"),
    ("UDP and TCP of one number", "engine/test_stack.py::ports_count_by_protocol"),
    ("containers of another folder", "engine/test_stack.py::the_file_no_longer_has_stay"),
    ("up --service postgres", "engine/test_stack.py::a_ready_image_can_be_started_alone"),
    ("verify and a foreign service", "cli/test_compose.py::verify_passes_over"),
    # .env
    (
        "multi-line values, equal keys, export, comments",
        "engine/test_dotenv_oracle.py::completed_files_mean_to_compose",
    ),
    ("read as compose reads it", "engine/test_dotenv_oracle.py::2000_generated_files"),
    ("CRLF, BOM, a link", "cli/test_dotenv.py::a_link_stays_a_link"),
    ("a FIFO, a directory", "cli/test_dotenv.py::what_is_not_a_file"),
    ("300,000 lines", "cli/test_dotenv.py::a_large_file"),
    ("${X?:err} without .env and without example", "cli/test_dotenv.py::without_an_example_all_say"),
    ("values in compose's own words", "engine/test_dotenv_oracle.py::no_value_is_left"),
    ("a fresh checkout, for what only looks", "engine/test_fresh_checkout.py::asks_for_no_value"),
    # misleading errors
    ("`error:` that is not rustc's", "engine/test_compose_shapes.py::words"),
    ("a program that an image of Node lacks", "engine/test_compose_shapes.py::no-program"),
    ("stale lock, protoc, .sqlx, a database", "unit/test_build_lacks.py::what_is_said_and_what_to_do"),
    ("an engine that says already exists", "engine/test_build_races.py::twelve_first_builds"),
    ("a context or Dockerfile that is not there", "engine/test_compose_shapes.py::context-missing"),
    # wrong results of doctor
    ("ok of what could not be read", "unit/test_doctor.py::ok_is_said_only_of_what_was_seen"),
    ("a Dockerfile that does not exist", "cli/test_doctor.py::no_dockerfile"),
    ("a single crate without a lock file", "cli/test_doctor.py::no_lock_of_a_crate"),
    ("a program of a base image or an earlier stage", "cli/test_doctor.py::missing_only_where_the_dockerfile_shows"),
    ("images.build where none can be made", "unit/test_doctor.py::not_sent_to_the_packages"),
    # without BuildKit
    ("plain services, the same image", "engine/test_legacy_plain.py::images_without_buildkit"),
    ("plain services, refused by name", "unit/test_plain_service.py::refused_with_its_service_and_line"),
    # tracebacks
    ("odd answers of a registry", "cli/test_hostile_registry.py::def test_"),
    ("a Latin-1 byte in a Dockerfile", "engine/test_compose.py::latin"),
)


@pytest.mark.parametrize(("row", "place"), ROWS, ids=[row for row, _ in ROWS])
def test_the_right_value_of_a_row_is_held(row: str, place: str) -> None:
    file, _, name = place.partition("::")
    text = (TESTS / file).read_text("utf-8")
    assert re.search(re.escape(name), text), f"{row}: {file} has no {name!r}"
