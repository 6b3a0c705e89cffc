import inspect
import tomllib
from pathlib import Path

import pytest

from qsmxt_app.config import load_settings, preset_names, read_preset, to_repeat, with_preset
from qsmxt_app.errors import NoInput, WrongUsage
from qsmxt_app.qsm.field import fit_total_field
from qsmxt_app.qsm.masking import MaskOptions
from qsmxt_app.qsm.tgv import TGVOptions
from qsmxt_app.settings import Settings, setting_fields
from qsmxt_app.settings.text import nearest, to_toml


def test_later_sources_win(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("mask_erosion = 3\ntgv_iterations = 77\n")
    preset = read_preset("bet")
    assert preset.settings["mask"] == "bet" != Settings().mask

    only_preset = load_settings({"preset": "bet"})
    assert (only_preset.mask, only_preset.mask_erosion) == ("bet", preset.settings["mask_erosion"])

    with_file = load_settings({"preset": "bet", "config": str(file)})
    assert (with_file.mask, with_file.mask_erosion, with_file.tgv_iterations) == ("bet", 3, 77)

    with_flag = load_settings({"preset": "bet", "config": str(file), "mask_erosion": "2"})
    assert (with_flag.mask_erosion, with_flag.tgv_iterations) == (2, 77)


def test_preset_may_come_from_the_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('preset = "fast"\n')
    assert load_settings({"config": str(file)}) == load_settings({"preset": "fast", "config": str(file)})
    assert load_settings({"config": str(file), "preset": "bet"}).preset == "bet"


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_complete_and_differ_from_each_other(name):
    preset = read_preset(name)
    assert len(preset.reason.split()) > 10
    assert preset.summary
    others = [load_settings({"preset": other}) for other in preset_names() if other != name]
    own = load_settings({"preset": name}).as_dict() | {"preset": ""}
    assert all(own != other.as_dict() | {"preset": ""} for other in others)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"mask_treshold": "otsu"}, "Did you mean mask_threshold?"),
        ({"mask_threshold": "otus"}, "Did you mean otsu?"),
        ({"preset": "gree"}, "Did you mean gre?"),
        ({"mask": "magnitud"}, "Did you mean magnitude?"),
        ({"tgv_iterations": "many"}, "--tgv-iterations needs a whole number"),
        ({"tgv_iterations": "0"}, "The minimum is 1"),
        ({"tgv_alpha": ["0.1"]}, "needs 2 values"),
        ({"tgv_alpha": ["nan", "1"]}, "nan"),
        ({"mem_gb": "12Q"}, "--mem-gb needs a number"),
        ({"mask_threshold": "fixed"}, "--mask-threshold-value"),
        ({"segmentation": "meshnet"}, "by --model"),
        ({"atlas": "no/such"}, "Built in: qsmxt"),
        ({"roi_threshold": "1"}, "Give less than 1"),
        ({"two_pass": "yes"}, "true or false"),
        ({"reference": ""}, "--reference is empty"),
        ({"reference": "csf", "segmentation": "none"}, "--segmentation none labels none"),
        ({"atlas": "A:B", "model": "."}, "--atlas and --model exclude each other"),
        ({"dry_run": True, "reports_only": True}, "exclude each other"),
    ],
)
def test_wrong_settings_name_what_is_right(flags, part):
    with pytest.raises(WrongUsage) as raised:
        load_settings(flags)
    assert part in str(raised.value)


@pytest.mark.parametrize(
    ("flags", "segmentation"),
    [
        ({}, "none"),
        ({"derivatives": ["."]}, "atlas"),
        ({"atlas": "qsmxt"}, "atlas"),
        ({"model": "."}, "meshnet"),
        ({"model": ".", "derivatives": ["."]}, "atlas"),
        ({"model": ".", "segmentation": "atlas"}, "atlas"),
        ({"derivatives": ["."], "segmentation": "none"}, "none"),
        ({"reference": "csf"}, "atlas"),
        ({"reference": "none"}, "none"),
    ],
)
def test_who_names_labels_wants_regions_whatever_the_preset_says(flags, segmentation):
    for preset in ("fast", "body"):
        settings = load_settings({"preset": preset, **flags})
        assert settings.segmentation == segmentation
    assert with_preset(load_settings({"preset": "auto", **flags}), "body").segmentation == segmentation


def test_wrong_settings_in_a_file_name_the_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("two_passes = true\n")
    with pytest.raises(
        WrongUsage, match=r"settings\.toml: unknown setting 'two_passes'. Did you mean two_pass"
    ):
        load_settings({"config": str(file)})
    file.write_text("two_pass = maybe\n")
    with pytest.raises(WrongUsage, match="not valid TOML"):
        load_settings({"config": str(file)})
    with pytest.raises(NoInput):
        load_settings({"config": str(tmp_path / "absent.toml")})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("n_cpus = 100000000000000000000000000", "--n-cpus .* is too large"),
        ("n_cpus = 5000", "The maximum is 4096"),
        ("omp_nthreads = 99999", "too large"),
        ("tgv_iterations = 2147483648", "--tgv-iterations .* is too large"),
        ("mem_gb = inf", "not a finite number"),
        ('work_dir = "a\\u0000b"', "--work-dir contains a NUL character"),
        ('participant_label = ["01", "a\\u0000b"]', "NUL"),
        ('mask = "a\\u0000b"', "NUL"),
        ('subject_map = "a\\u0000b"', "NUL"),
        ("n_cpus = " + "[" * 3000 + "]" * 3000, "not valid TOML"),
    ],
)
def test_a_file_with_values_that_no_run_could_use_is_refused(tmp_path, line, words):
    file = tmp_path / "settings.toml"
    file.write_text(line + "\n")
    with pytest.raises(WrongUsage, match=words):
        load_settings({"config": str(file)})


@pytest.mark.parametrize(
    ("text", "gigabytes"), [("8", 8), ("8G", 8), ("8GB", 8), ("8000M", 8), ("0.5T", 500)]
)
def test_memory_has_units(text, gigabytes):
    assert load_settings({"mem_gb": text}).mem_gb == pytest.approx(gigabytes)


def test_written_settings_read_back_the_same(tmp_path):
    settings = load_settings(
        {
            "preset": "bet",
            "participant_label": ["01", "sub-02"],
            "tgv_alpha": ["0.003", "1e-3"],
            "work_dir": 'odd "name" \\ with\nnewline and \x7f',
        }
    )
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings.as_dict()), encoding="utf-8")
    assert tomllib.loads(file.read_text(encoding="utf-8")) == settings.as_dict()
    again = load_settings({"config": str(file)})
    assert again.as_dict() | {"config": ""} == settings.as_dict() | {"config": ""}


def test_defaults_are_those_of_the_physics():
    settings, masks, tgv = Settings(), MaskOptions(), TGVOptions()
    assert (settings.mask, settings.mask_threshold) == (masks.source, masks.threshold)
    assert settings.mask_closing == masks.closing_mm
    assert settings.mask_erosion == masks.erosion_voxels
    assert settings.mask_components == masks.components
    assert settings.tgv_alpha == tgv.alpha
    assert (settings.tgv_iterations, settings.tgv_tolerance) == (tgv.max_iterations, tgv.tolerance)
    assert settings.unwrapping == inspect.signature(fit_total_field).parameters["unwrapping"].default


def test_every_setting_has_help_and_a_default():
    for setting in setting_fields():
        assert len(setting.metadata["help"]) > 10, setting.name


def test_nearest_lists_the_choices_when_none_is_near():
    assert nearest("zzz", ["one", "two"]) == "Choose one of: one, two."


def test_every_preset_and_method_is_in_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "presets.md").read_text(encoding="utf-8")
    methods = [
        choice
        for setting in setting_fields()
        if setting.name in ("background", "inversion")
        for choice in setting.metadata["choices"]
    ]
    assert not [name for name in ("auto", *preset_names(), *methods) if f"`{name}`" not in page]


def test_auto_lets_a_preset_decide_what_the_user_left_open(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("tgv_iterations = 77\n")
    asked = load_settings({"preset": "auto", "config": str(file), "mask_erosion": "2"})
    bet = with_preset(asked, "bet")
    assert (
        bet.as_dict() == load_settings({"preset": "bet", "config": str(file), "mask_erosion": "2"}).as_dict()
    )
    # from one preset to another nothing of the first is left
    assert with_preset(bet, "fast") == with_preset(asked, "fast")
    assert with_preset(asked, "fast").tgv_iterations == 77


def test_the_file_that_repeats_an_automatic_run_leaves_its_choices_open(tmp_path):
    asked = load_settings({"preset": "auto", "mask_erosion": "2"})
    file = tmp_path / "settings.toml"
    file.write_text(to_toml(to_repeat(asked)))
    again = load_settings({"config": str(file)})
    assert again.preset == "auto"
    for name in preset_names():
        assert to_repeat(with_preset(again, name)) == to_repeat(with_preset(asked, name))


def test_syn_is_refused_in_one_line_where_ants_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qsmxt_app.config.find_spec", lambda name: None)
    with pytest.raises(WrongUsage, match=r"--registration syn needs ANTs.*qsmxt-app\[ants\]"):
        load_settings({"registration": "syn"})
    assert load_settings({"registration": "greedy"}).registration == "greedy"
