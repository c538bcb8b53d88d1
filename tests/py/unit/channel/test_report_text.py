"""Reports say what their numbers mean."""

import errno

from shmring import SendReport, Verdict
from shmring.types import Stamp


def test_an_error_has_a_text() -> None:
    report = SendReport(0, 0, 0, 0, 0, 0, 0, Stamp.NONE, Verdict.FAILED, errno.EACCES, 1)
    assert report.error_text == "Permission denied"
    assert report._replace(error=0).error_text == ""
