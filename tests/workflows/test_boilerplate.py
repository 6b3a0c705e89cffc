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


def planned_methods(raw, out, *arguments):
    """What would be written of the methods, and which references they cite."""
    command = [str(raw), str(out), "participant", "--boilerplate-only", "--skip-bids-validation"]
    assert main([*command, *arguments]) == 0
    return (out / "logs" / "CITATION.md").read_text(), (out / "logs" / "CITATION.bib").read_text()


def test_the_methods_are_those_of_the_maps_and_regions_that_are_planned(tmp_path):
    raw = write_mini_dataset(tmp_path / "raw")
    text, references = planned_methods(raw, tmp_path / "out", "--no-chi-noise")
    for key in ("stewart2022", "gudbjartsson1995", "haacke2004"):
        assert key in references
    assert "efron1986" not in references
    assert "its mean over the mask" in text
    assert "Regions were labelled" not in text, "a phantom has none"
    for path in raw.rglob("*.json"):
        path.write_text(path.read_text().replace("PHANTOM", "HEAD"))
    text, references = planned_methods(raw, tmp_path / "out", "--no-two-pass", "--reference", "caudate")
    assert "Regions were labelled by registration of" in text
    assert "to the magnitude" in text
    assert "over the labelled region caudate" in text
    assert "stewart2022" not in references
    assert "efron1986" in references
