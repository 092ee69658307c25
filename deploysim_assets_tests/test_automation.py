"""No update is lost, whenever it comes: the conditions under which an asset follows its inputs,
tick by tick on a real instance."""

from collections.abc import Callable, Iterator

import dagster as dg
import pytest
from dagster import AutomationCondition

from deploysim_assets.automation import CHEAP, PAGE, SUMMARY

BY_THE_DAEMON = {"dagster/from_automation_condition": "true"}
# what evaluate_automation_conditions itself calls
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

RELEASE = "release 1"
_PARTITIONS = dg.StaticPartitionsDefinition([RELEASE])


class Site:
    """Two assets, the second of which follows the first, and what the daemon does with them."""

    def __init__(self, instance: dg.DagsterInstance, condition: AutomationCondition) -> None:
        @dg.asset(partitions_def=_PARTITIONS)
        def score() -> None: ...

        @dg.asset(deps=["score"], partitions_def=_PARTITIONS, automation_condition=condition)
        def page() -> None:
            self.meanwhile()

        self.definitions = dg.Definitions([score, page])
        self.instance, self.cursor = instance, None
        self.meanwhile: Callable[[], None] = lambda: None
        self.make("score")
        self.make("page")
        assert self.requested() == 0

    def make(
        self,
        *assets: str,
        tags: dict[str, str] | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """A run, and what happens while the second asset is made."""
        self.meanwhile = meanwhile
        # `dg.materialize` does not record the selection, by which Dagster knows a common run
        self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            partition_key=RELEASE,
            instance=self.instance,
            tags=tags,
        )

    def requested(self) -> int:
        """How many partitions of the second asset a tick asks for."""
        tick = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor
        )
        self.cursor = tick.cursor
        return tick.get_num_requested(dg.AssetKey("page"))

    def settles(self) -> bool:
        """Whether nothing is asked for once what was asked for is made."""
        self.make("page", tags=BY_THE_DAEMON)
        return [self.requested() for _ in range(3)] == [0, 0, 0]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(params=[CHEAP, PAGE, SUMMARY], ids=["CHEAP", "PAGE", "SUMMARY"])
def site(request: pytest.FixtureRequest, instance: dg.DagsterInstance) -> Site:
    return Site(instance, request.param)


def test_an_update_is_followed_once(site: Site) -> None:
    site.make("score")
    assert site.requested() == 1
    assert site.settles()


def test_an_input_that_comes_just_after_the_asset_is_followed_though_one_tick_sees_both(
    site: Site,
) -> None:
    """A page without its score stayed so for good: the tick that saw the score saw the page, too,
    and took it for made from it."""
    site.make("score")
    assert site.requested() == 1
    site.make("page", tags=BY_THE_DAEMON)
    site.make("score")
    assert site.requested() == 1
    assert site.settles()


def test_an_input_that_comes_between_request_and_run_is_followed(site: Site) -> None:
    site.make("score")
    assert site.requested() == 1
    site.make("score")
    assert site.requested() == 1
    assert site.settles()


def test_an_input_that_comes_while_the_asset_is_made_is_followed(site: Site) -> None:
    site.make("score")
    assert site.requested() == 1

    def meanwhile() -> None:
        site.make("score")
        assert site.requested() == 0

    site.make("page", tags=BY_THE_DAEMON, meanwhile=meanwhile)
    assert site.requested() == 1
    assert site.settles()


def test_what_a_person_made_in_order_is_not_made_again(site: Site) -> None:
    site.make("score")
    site.make("page")
    assert [site.requested() for _ in range(3)] == [0, 0, 0]
    site.make("score", "page")
    assert [site.requested() for _ in range(3)] == [0, 0, 0]


def test_what_a_person_made_a_tick_later_is_not_made_again(site: Site) -> None:
    site.make("score")
    held = site.requested()
    site.make("page")
    assert held == 1
    assert [site.requested() for _ in range(3)] == [0, 0, 0]


def test_an_input_that_comes_just_after_what_a_person_made_is_followed(site: Site) -> None:
    site.make("page")
    site.make("score")
    assert site.requested() == 1
    assert site.settles()


def test_both_in_one_run_is_no_update(site: Site) -> None:
    site.make("score")
    assert site.requested() == 1
    site.make("score", "page", tags=BY_THE_DAEMON)
    assert [site.requested() for _ in range(3)] == [0, 0, 0]
