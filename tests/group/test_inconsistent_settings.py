from qsmxt_app.group.inconsistent_settings import InconsistentSetting, inconsistent_settings


def test_what_is_shared_or_not_known_is_no_mixture() -> None:
    assert (
        inconsistent_settings(
            {"sub-1": {"preset": "gre"}, "sub-2": {"preset": "gre"}, "sub-3": {"preset": ""}}
        )
        == []
    )
    assert inconsistent_settings({"sub-1": {"preset": "gre"}, "sub-2": {}}) == []


def test_the_many_are_counted_and_the_others_named() -> None:
    scans = {f"sub-{number:02d}": {"reference": "csf" if number < 8 else "mean"} for number in range(1, 16)}
    named = "sub-01, sub-02, sub-03, sub-04, sub-05 and 2 more"
    assert inconsistent_settings(scans) == [
        InconsistentSetting("reference", f"mean in 8 scans; csf in {named}")
    ]
