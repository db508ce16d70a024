"""What `make test-lifecycle` leaves: a line per test."""

from tools.lifecycle import lines

REPORT = """<testsuites><testsuite>
<testcase classname="tests.service.test_a" name="test_x" time="61.6"><properties>
<property name="Label Studio" value="1.2"/><property name="pictures" value="4"/>
</properties></testcase>
<testcase classname="tests.service.test_a" name="test_y" time="0.2">
<failure message="assert 1 == 2&#10;more">long</failure></testcase>
<testcase classname="tests.service.test_b" name="test_z" time="0">
<skipped message="cannot be installed here"/></testcase>
</testsuite></testsuites>"""


def test_a_line_says_what_came_of_a_test():
    assert lines(REPORT) == [
        "- test_a::test_x: passed, 62 s; Label Studio 1.2, pictures 4",
        "- test_a::test_y: failure: assert 1 == 2, 0 s",
        "- test_b::test_z: skipped: cannot be installed here, 0 s",
    ]
