import pytest

from scaleprof.collect.written import identity
from scaleprof.collect.written.identity import Identity, from_environment, run_id_from_environment, short


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Identity(3, 8, 1)),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "16", "SLURM_LOCALID": "0"}, Identity(5, 16, 0)),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Identity(1, 2, 1),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "4"}, Identity(1, 4, None)),
        ({"RANK": "0", "WORLD_SIZE": "2", "SLURM_PROCID": "7", "SLURM_NTASKS": "8"}, Identity(0, 2, None)),
        ({"RANK": "left over", "WORLD_SIZE": "2", "PMI_RANK": "1", "PMI_SIZE": "4"}, Identity(1, 4, None)),
        ({"RANK": "5", "WORLD_SIZE": "2"}, None),
        ({}, None),
    ],
)
def test_the_launcher_says_who_we_are(environment: dict[str, str], expected: Identity | None) -> None:
    assert from_environment(environment) == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SCALEPROF_RUN_ID": "mine", "TORCHELASTIC_RUN_ID": "theirs"}, "mine"),
        ({"TORCHELASTIC_RUN_ID": "abc", "TORCHELASTIC_RESTART_COUNT": "0"}, "abc"),
        ({"TORCHELASTIC_RUN_ID": "abc", "TORCHELASTIC_RESTART_COUNT": "2"}, "abc.2"),
        ({"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "1"}, "77.1"),
        ({"OMPI_MCA_ess_base_jobid": "9"}, "9"),
        ({"TORCHELASTIC_RUN_ID": "none"}, None),
        ({}, None),
    ],
)
def test_every_rank_finds_the_same_run_id(environment: dict[str, str], expected: str | None) -> None:
    assert run_id_from_environment(environment) == expected


def test_ids_are_shortened_the_same_way_everywhere() -> None:
    assert short("a") == short("a") != short("b")
    assert len(short("a very long id of a run")) == 8


def test_ranks_meet_under_one_id_in_every_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("torch.distributed")
    store = distributed.HashStore()
    monkeypatch.setattr(distributed.distributed_c10d, "_get_default_store", lambda: store)
    ids = [[identity.run_id_from_store(rank, number) for rank in (0, 1)] for number in (1, 2)]
    assert ids[0][0] == ids[0][1] != ids[1][0] == ids[1][1]


def test_a_rank_without_rank_0_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("torch.distributed")
    monkeypatch.setattr(distributed.distributed_c10d, "_get_default_store", lambda: distributed.HashStore())
    monkeypatch.setattr(identity, "_STORE_WAIT_S", 0.1)
    with pytest.raises(RuntimeError):
        identity.run_id_from_store(1, 1)
