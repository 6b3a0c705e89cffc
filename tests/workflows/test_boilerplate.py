import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.cli import main


def test_the_methods_are_written_and_nothing_is_computed(tmp_path, capsys):
    raw, out = write_mini_dataset(tmp_path / "raw", ("01", "02")), tmp_path / "out"
    arguments = [str(raw), str(out), "participant", "--preset", "consensus", "--skip-bids-validation"]
    assert main([*arguments, "--boilerplate-only"]) == 0
    text = (out / "logs" / "CITATION.md").read_text()
    assert "TE 5, 12, 20 ms" in text
    assert "Laplacian boundary value" in text
    assert "10.1002/mrm.30006" in text
    assert text.count("Susceptibility maps were computed") == 1
    assert str(out / "logs" / "CITATION.md") in capsys.readouterr().out
    assert not list(out.glob("sub-*"))
    assert not (out / "work").exists()


@pytest.mark.parametrize("other", ["--dry-run", "--reports-only"])
def test_it_excludes_other_ways_of_looking(tmp_path, capsys, other):
    assert main([str(tmp_path), str(tmp_path / "out"), "participant", "--boilerplate-only", other]) == 64
    assert "exclude each other" in capsys.readouterr().err


def test_it_needs_a_dataset(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a_mag.nii").write_bytes(b"x")
    code = main([str(tmp_path / "in"), str(tmp_path / "out"), "participant", "--boilerplate-only"])
    assert code in (64, 66)
    assert not (tmp_path / "out").exists()
