"""Which tools only read, by the verbs of their names."""

import pytest

from deploysim_assets.schema import is_agentic, is_read_only, tool_kind, turn_calls

READ = """
    get_balance read_file list_files search_emails get_order_details find_user_id_by_email
    get_unread_emails view_cart show_schedule checkStatus GetUserInfo get-user files.read_file
    mcp__github__list_issues github:get_commit web_search file_search git_log git_status ls cat
    grep calculate think check_restaurant_opening_hours list_all_product_types getHTTPResponse
    describe_table fetch lookup stat count_rows get_last_run get_posts list_calls
""".split()
WRITE = """
    send_email delete_file create_issue update_user get_or_create_user read_and_forward
    find_and_replace search_replace check_in check_out transfer_to_human_agents bash python
    run_query execute_sql write_file append_to_file cancel_order modify_pending_order_items
    book_hotel post_webpage submit str_replace_editor frobnicate move git_commit git_push
    mcp__get__delete_all x __ 查 order_search
""".split()


@pytest.mark.parametrize("name", READ)
def test_names_that_read(name: str) -> None:
    assert is_read_only(name)
    assert not is_read_only(name, declared=False)


@pytest.mark.parametrize("name", [*WRITE, "", "a" * 10_000])
def test_names_that_write_or_say_nothing(name: str) -> None:
    assert not is_read_only(name)
    assert is_read_only(name, declared=True)


def test_one_call_that_may_write_makes_the_turn_one_that_writes() -> None:
    assert tool_kind([], {}) == "none"
    assert tool_kind(["get_a", "read_b"], {}) == "read"
    assert tool_kind(["get_a", "send_b"], {}) == "write"
    assert tool_kind(["send_b"], {"send_b": True}) == "read"


def test_a_prefix_is_an_agents_where_tools_are_declared_or_called() -> None:
    call = {"id": None, "name": "a", "arguments": "{}"}
    plain = {"content": "x", "reasoning": None, "tool_calls": None, "steps": None}
    step = {"role": "assistant", "content": None, "reasoning": None, "tool_calls": [call]}
    tool = {"name": "a", "description": None, "parameters": None, "read_only": None}

    def agentic(tools: list[dict[str, object]] | None, reply: dict[str, object]) -> bool:
        return is_agentic({"tools": tools, "production_completion": reply})

    assert not agentic(None, plain)
    assert not agentic([], plain)
    assert agentic([tool], plain)
    assert agentic(None, plain | {"tool_calls": [call]})
    assert agentic(None, plain | {"steps": [step]})
    assert [c["name"] for c in turn_calls(plain | {"steps": [step], "tool_calls": [call]})] == [
        "a",
        "a",
    ]
