"""Who is let in, and who has to go."""

from dataclasses import dataclass, field

import pytest

from nca3d.cube.serve.connections import REFUSED, Phase, Table, client_of


@dataclass(eq=False)
class Guest:
    """Stands in for a connection."""

    phase: Phase = Phase.IDLE
    since: float = 0.0
    ended: list[str] = field(default_factory=list)

    def overdue(self, now: float) -> bool:
        return now - self.since > 5

    def expire(self) -> None:
        self.ended.append("expired")

    def drop(self) -> None:
        self.ended.append("dropped")


def test_the_newcomer_is_let_in_for_the_one_that_idles_longest() -> None:
    table, guests = Table(3, 3), [Guest(since=since) for since in (2.0, 1.0, 3.0)]
    assert all(table.admit(guest, "a") for guest in guests)
    assert table.admit(Guest(), "b")
    assert [guest.ended for guest in guests] == [[], ["dropped"], []]
    assert len(table) == 3


def test_a_client_at_its_cap_closes_its_own() -> None:
    table, other, mine = Table(10, 2), Guest(since=-9), [Guest(), Guest()]
    assert table.admit(other, "b")
    assert all(table.admit(guest, "a") for guest in mine)
    assert table.admit(Guest(), "a")
    assert (other.ended, mine[0].ended + mine[1].ended) == ([], ["dropped"])


def test_what_is_missed_least_goes_first() -> None:
    table, guests = Table(6, 6), [Guest(phase) for phase in reversed(Phase)]
    assert all(table.admit(guest, "a") for guest in guests)
    for phase in list(Phase)[:-1]:
        assert table.admit(Guest(Phase.WORK), "a")
        assert [guest.phase for guest in guests if guest.ended][::-1] == list(Phase)[: phase + 1]
    assert not table.admit(Guest(), "a"), "all are being answered"
    assert not table.make_room()


def test_of_equals_one_of_the_client_with_most_goes() -> None:
    table, few, lots = Table(4, 4), Guest(since=0), [Guest(since=1) for _ in range(3)]
    assert table.admit(few, "few")
    assert all(table.admit(guest, "lots") for guest in lots)
    assert table.admit(Guest(), "new")
    assert (few.ended, sum(len(guest.ended) for guest in lots)) == ([], 1)


def test_few_are_refused_at_a_time() -> None:
    table, guests = Table(1, 1), [Guest() for _ in range(REFUSED)]
    assert all(table.refuse(guest) for guest in guests)
    assert not table.refuse(Guest())
    table.remove(guests[0])
    assert table.refuse(Guest())
    table.sweep(6.0)
    assert guests[1].ended == ["expired"]


def test_nobody_is_remembered() -> None:
    table, guests = Table(9, 9), [Guest() for _ in range(9)]
    for number, guest in enumerate(guests):
        table.admit(guest, str(number))
    for guest in guests:
        table.remove(guest)
        table.remove(guest)
    assert (len(table), table._counts) == (0, {})


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network(address: str, client: str) -> None:
    assert client_of(address) == client
