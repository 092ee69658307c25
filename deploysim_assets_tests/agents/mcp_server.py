"""An MCP server of the tests, with tools that it may and may not be asked: `python -m ... PORT`
serves HTTP, without a port stdio."""

import sys
import time

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("tests")
reads = ToolAnnotations(read_only_hint=True)
made: list[str] = []


@server.tool(annotations=reads, structured_output=False)
def weather(city: str) -> str:
    made.append("weather")
    return f"Sun in {city}, says ann@example.org"


@server.tool(annotations=reads, structured_output=False)
def get_calls() -> str:
    return ",".join(made)


@server.tool(structured_output=False)
def get_unmarked(city: str) -> str:
    made.append("get_unmarked")
    return city


@server.tool(annotations=reads, structured_output=False)
def delete_everything(city: str) -> str:
    made.append("delete_everything")
    return city


@server.tool(
    annotations=ToolAnnotations(read_only_hint=True, destructive_hint=True), structured_output=False
)
def get_destructive(city: str) -> str:
    made.append("get_destructive")
    return city


@server.tool(annotations=reads, structured_output=False)
def get_huge() -> str:
    return "x" * 1_000_000


@server.tool(annotations=reads, structured_output=False)
def get_slow() -> str:
    time.sleep(3)
    return "late"


@server.tool(annotations=reads, structured_output=False)
def get_failing() -> str:
    raise ValueError("no such city")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]), json_response=True)
    else:
        server.run("stdio")
